"""Read `quantization_config`: how the matrices of a checkpoint were rounded before they came here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from lineside.export.checkpoint.section import Section
from lineside.export.errors import Unsupported

Method = Literal["none", "fp8"]
NOTES = frozenset(["modules_to_not_convert", "activation_scheme", "dequantize"])
"""Keys that say how it was made, or how activations would be rounded: here they stay exact."""


@dataclass(frozen=True)
class Quantization:
    """`square`: rows and columns that share a scale of 8-bit floats, where they do not share one for all."""

    method: Method = "none"
    square: tuple[int, int] | None = None


def read_quantization(section: Section) -> Quantization:
    """Raises Unsupported for what cannot be carried over."""
    method = section.get("quant_method", "none")
    if method != "fp8":
        raise Unsupported(
            f"{section.name('quant_method')} = {method!r}: the checkpoint is quantized already, in a way that "
            "cannot be carried over; supported: fp8. Export the original bfloat16 weights"
        )
    square = _square(section, section.get("weight_block_size", None))
    section.close(NOTES)
    return Quantization("fp8", square)


def _square(section: Section, found: Any) -> tuple[int, int] | None:
    if found is None:
        return None
    if not isinstance(found, list) or len(found) != 2 or not all(isinstance(size, int) and size > 0 for size in found):
        raise Unsupported(f"{section.name('weight_block_size')} = {found!r} is no pair of sizes")
    return found[0], found[1]
