"""The card of a bundle that nobody has evaluated yet."""

from __future__ import annotations

from lineside.export.bundle.plan import Planned
from lineside.runtime.agreement.tokens import TokenAgreement


def card(source: str, planned: Planned, agreement: TokenAgreement) -> str:
    """Markdown; `source` is the name of the checkpoint's folder or file."""
    decoder, vision = planned.network.decoder, planned.network.vision
    formats = planned.formats()
    tower = f"{vision.num_hidden_layers} layers of {vision.hidden_size}, {formats['vision']}" if vision else "none"
    text = "text behind a picture" if vision else "text"
    outer = " and ".join(dict.fromkeys((formats["embedding"], formats.get("head", formats["embedding"]))))
    return (
        f"# {source}\n\nExported by Lineside from a {planned.network.architecture} checkpoint.\n\n"
        f"- decoder: {decoder.num_hidden_layers} layers of {decoder.hidden_size}, {formats['decoder']}\n"
        f"- vision tower: {tower}\n"
        f"- embeddings and head: {outer}\n"
        f"- scales: {_scales(planned)}\n"
        f"- context: {decoder.context_length} tokens\n"
        f"- rounding: {_roundings(planned)}\n\n## Measured at the export\n\n"
        f"The bundle on a CPU beside the float model, over {agreement.tokens} tokens of {text}:\n\n"
        f"- KL divergence: {agreement.kl:.4f} nats a token; 99 of 100 tokens are below {agreement.kl_p99:.3f}\n"
        f"- the same likeliest token: {100 * agreement.top1:.1f} %\n"
        f"- perplexity: {agreement.perplexity_b:.2f}, the float model's {agreement.perplexity_a:.2f}\n\n"
        "How well the model does its work has not been evaluated: `lineside compare` and `lineside calibrate` measure "
        "that on your pictures.\n"
    )


def _roundings(planned: Planned) -> str:
    ways = {part: ", ".join(sorted({way.method for way in found})) for part, found in planned.quantizer().items()}
    return "; ".join(f"{part} {way}" for part, way in ways.items())


def _scales(planned: Planned) -> str:
    found = {way.scales for ways in planned.quantizer().values() for way in ways if way.scales}
    return " and ".join(sorted(found)) or "none"
