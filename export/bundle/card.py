"""The card of a bundle that nobody has evaluated yet."""

from __future__ import annotations

from lineside.export.bundle.plan import Planned


def card(source: str, planned: Planned) -> str:
    """Markdown; `source` is the name of the checkpoint's folder or file."""
    decoder, vision = planned.network.decoder, planned.network.vision
    formats = planned.formats()
    tower = f"{vision.num_hidden_layers} layers of {vision.hidden_size}, {formats['vision']}" if vision else "none"
    outer = " and ".join(dict.fromkeys((formats["embedding"], formats.get("head", formats["embedding"]))))
    return (
        f"# {source}\n\nExported by Lineside from a {planned.network.architecture} checkpoint.\n\n"
        f"- decoder: {decoder.num_hidden_layers} layers of {decoder.hidden_size}, {formats['decoder']}\n"
        f"- vision tower: {tower}\n"
        f"- embeddings and head: {outer}\n"
        f"- scales: {_scales(planned)}\n"
        f"- context: {decoder.context_length} tokens\n\nIt has not been evaluated by Lineside.\n"
    )


def _scales(planned: Planned) -> str:
    found = {way.scales for ways in planned.quantizer().values() for way in ways if way.scales}
    return " and ".join(sorted(found)) or "none"
