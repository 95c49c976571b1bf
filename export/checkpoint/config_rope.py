"""The rotary embedding of a Hugging Face config: `rope_parameters` in transformers 5, two keys before."""

from __future__ import annotations

from typing import Any

from lineside.export.checkpoint.section import Section
from lineside.export.errors import MissingPart, Unsupported
from lineside.export.network.rope import Linear, Llama3, QueryScale, Rope, Scaling, Yarn, magnitude

KINDS = ("default", "linear", "llama3", "yarn")
NAMES = {"rope_type", "type", "rope_theta", "partial_rotary_factor", "max_position_embeddings"}
"""Keys beside those of the kinds. `max_position_embeddings` only repeats the config's own."""
QUERY_SCALE = {"llama_4_scaling_beta", "original_max_position_embeddings"}
PIXTRAL_THETA = 10000.0


def read_rope(text: Section, head_dim: int, context: int) -> Rope:
    """Raises Unsupported for a kind that the graphs do not express, and for a key that the kind has not."""
    section, kind = _parameters(text, KINDS)
    section.require("partial_rotary_factor", 1.0)
    theta = _theta(text, section)
    if head_dim % 2:
        raise Unsupported(f"{text.name('head_dim')} = {head_dim} is odd: rotary embedding turns pairs")
    scaling = None if kind == "default" else _scaling(section, kind, context)
    section.close(frozenset(NAMES | QUERY_SCALE))
    if text.get("model_type") == "mistral" and "llama_4_scaling_beta" in section:
        raise Unsupported(f"{section.name('llama_4_scaling_beta')} belongs to the model_type ministral3, not mistral")
    return Rope(theta, scaling)


def query_scale(text: Section) -> QueryScale | None:
    """Ministral 3's: it stands among the parameters of the rotary embedding."""
    section, _ = _parameters(text, KINDS)
    if section.get("llama_4_scaling_beta", None) in (None, 0):
        return None
    return QueryScale(section.number("llama_4_scaling_beta"), section.whole("original_max_position_embeddings"))


def axial_theta(vision: Section) -> float:
    """Of the tower: its two-dimensional embedding has no name in transformers 4, is `default` in 5.0, later `axial`."""
    section, _ = _parameters(vision, ("default", "axial"))
    section.require("partial_rotary_factor", 1.0)
    theta = _theta(vision, section, PIXTRAL_THETA)
    section.close(frozenset(NAMES))
    return theta


def _parameters(of: Section, kinds: tuple[str, ...]) -> tuple[Section, str]:
    """The section that describes it, and its kind."""
    known = [key for key in ("rope_parameters", "rope_scaling") if of.get(key, None) is not None]
    if len(known) == 2 and of.get("rope_parameters") != of.get("rope_scaling"):
        raise Unsupported(f"{of.name('rope_parameters')} and rope_scaling say different things: keep one of them")
    section = of.inner(known[0]) if known else Section({}, of.path, "rope_parameters.")
    found = {key: section.choice(key, kinds) for key in ("rope_type", "type") if key in section}
    if len(set(found.values())) > 1:
        raise Unsupported(f"{section.name('rope_type')} and type say different things: {found}")
    return section, next(iter(found.values()), kinds[0])


def _theta(of: Section, section: Section, default: float | None = None) -> float:
    inner: Any = section.number("rope_theta") if "rope_theta" in section else None
    outer: Any = of.number("rope_theta") if "rope_theta" in of else None
    if inner is not None and outer is not None and inner != outer:
        raise Unsupported(f"{of.name('rope_theta')} = {outer:g}, {section.name('rope_theta')} = {inner:g}: keep one")
    theta = next((found for found in (inner, outer, default) if found is not None), None)
    if theta is None:
        raise MissingPart(f"{of.name('rope_theta')} is missing, and so is rope_parameters.rope_theta")
    return float(theta)


def _scaling(section: Section, kind: str, context: int) -> Scaling:
    factor = section.number("factor")
    if kind == "linear":
        return Linear(factor)
    original = section.whole("original_max_position_embeddings", context)
    if kind == "llama3":
        low, high = section.number("low_freq_factor"), section.number("high_freq_factor")
        if high <= low:
            raise Unsupported(f"{section.name('high_freq_factor')} = {high:g} is not above low_freq_factor = {low:g}")
        return Llama3(factor, low, high, original)
    fast, slow = section.number("beta_fast", 32.0), section.number("beta_slow", 1.0)
    return Yarn(
        factor, original, fast, slow, _attention_factor(section, factor), section.flag("truncate", default=True)
    )


def _attention_factor(section: Section, factor: float) -> float:
    """As transformers derives it: `mscale` and `mscale_all_dim` count only together."""
    weights = [section.get(key, 0) for key in ("mscale", "mscale_all_dim")]
    if "attention_factor" in section:
        return section.number("attention_factor")
    if all(weights):
        over, under = (section.number(key) for key in ("mscale", "mscale_all_dim"))
        return magnitude(factor, over) / magnitude(factor, under)
    return magnitude(factor)
