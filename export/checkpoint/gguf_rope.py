"""The rotary embedding of a GGUF file, as llama.cpp computes it."""

from __future__ import annotations

from lineside.export.checkpoint.gguf_metadata import Metadata
from lineside.export.errors import Unsupported
from lineside.export.network.rope import Divided, Linear, QueryScale, Rope, Scaling, Yarn, magnitude


def read_rope(file: Metadata, factors: tuple[float, ...]) -> Rope:
    """`factors`: one for each frequency, of the tensor `rope_freqs`; none where there is no such tensor."""
    at = f"{file.architecture}.rope"
    kind = file.get(f"{at}.scaling.type", "none")
    theta = file.number(f"{at}.freq_base", 10000.0)
    scaling: Scaling | None = None
    if kind == "yarn":
        scaling = _yarn(file, f"{at}.scaling")
    elif kind == "linear":
        scaling = Linear(file.number(f"{at}.scaling.factor"))
    elif kind != "none":
        raise Unsupported(f"{file.path}: {at}.scaling.type = {kind} is not supported; supported: none, linear, yarn")
    file.get(f"{at}.scaling.finetuned", default=False)
    file.require(f"{at}.scaling.attn_factor", 1.0)
    if not factors:
        return Rope(theta, scaling)
    if scaling is not None:
        raise Unsupported(f"{file.path} has rope_freqs.weight and {at}.scaling.type = {kind}: one of them is supported")
    return Rope(theta, Divided(factors))


def read_query_scale(file: Metadata) -> QueryScale | None:
    """Ministral 3's. llama.cpp takes YaRN's original context where no other length is given."""
    scale = f"{file.architecture}.attention.temperature_scale"
    if scale not in file or file.get(scale) == 0:
        return None
    length = f"{file.architecture}.attention.temperature_length"
    original = f"{file.architecture}.rope.scaling.original_context_length"
    return QueryScale(file.number(scale), file.whole(length if length in file else original))


def _yarn(file: Metadata, at: str) -> Yarn:
    """Where `yarn_log_multiplier` is given, the attention factor is divided by that of this weight."""
    factor = file.number(f"{at}.factor")
    weight = file.get(f"{at}.yarn_log_multiplier", 0.0)
    file.require(f"{at}.yarn_ext_factor", 1.0)
    file.require(f"{at}.yarn_attn_factor", 1.0)
    return Yarn(
        factor,
        file.whole(f"{at}.original_context_length"),
        beta_fast=file.number(f"{at}.yarn_beta_fast", 32.0),
        beta_slow=file.number(f"{at}.yarn_beta_slow", 1.0),
        attention_factor=magnitude(factor) / (magnitude(factor, weight) if weight else 1.0),
    )
