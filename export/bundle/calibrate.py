"""One run of the float network over the sample: it fits the rounding of each matrix to what reaches it, writes it, and
leaves the logits that the finished bundle is measured against.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lineside.export.bundle.checks import image_settings
from lineside.export.bundle.filling import Filling
from lineside.export.bundle.plan import Planned
from lineside.export.calibration import sample
from lineside.export.calibration.float_ops import Passage, vector
from lineside.export.calibration.float_run import embed_patches, read_passages
from lineside.export.calibration.sample import Reading
from lineside.export.graph.kv import KVDtype
from lineside.export.graph.weights import Weight
from lineside.export.quantize.awq import best_factors
from lineside.export.quantize.blocks import BLOCK_SIZE
from lineside.export.quantize.grid import Grid
from lineside.export.quantize.hessian import feedback, moments, parts
from lineside.export.quantize.rounder import Rounder, awq_rounder, gptq_rounder
from lineside.runtime.patches import to_patches
from lineside.runtime.text.tokenizer import Tokenizer

log = logging.getLogger("lineside.export")
Float32 = npt.NDArray[np.float32]
DECODER = "decoder"
NORMS = {"self_attn.qkv": "input_layernorm", "mlp.gate_up": "post_attention_layernorm"}
"""The norm whose weights take back the factors of a matrix, within a layer."""


@dataclass(frozen=True)
class Measured:
    """What the float network gives.

    Attributes:
        logits: `(T - 1 - reading.text_start, vocab)`, of all tokens of the text but the last.
        largest: magnitudes of keys and values (`export.calibration.float_ops`).
    """

    reading: Reading
    logits: Float32
    largest: Mapping[str, Float32]


def run_floats(filling: Filling, planned: Planned, tokenizer: Tokenizer, kv_dtype: KVDtype) -> Measured:
    """Fill the INT4 matrices that are fitted to their inputs, and return what the rest of the export must know.

    The whole sample is read where something is fitted to it, which the scales of an INT8 cache are, too.
    """
    image = image_settings(planned.network.vision, tokenizer) if planned.network.vision else None
    reading = sample.measured(tokenizer, image)
    most = sample.tokens_of(planned.network.decoder.intermediate_size)
    whole = planned.fitted or kv_dtype == "int8"
    readings = [*sample.calibration(tokenizer, image, most), reading] if whole else [reading]
    longest = planned.network.decoder.context_length
    readings = [one.cut(longest) for one in readings]
    passages = tuple(Passage(one.ids, _embeds(one, planned, tokenizer)) for one in readings)
    calibrating = sum(len(one.ids) for one in readings[:-1])
    fit = _Fit(filling, planned, calibrating)
    first = readings[-1].text_start
    found = read_passages(planned.checkpoint, planned.network, passages, calibrating + first, fit.visit)
    return Measured(readings[-1], found.logits[:-1], found.largest)


def _embeds(reading: Reading, planned: Planned, tokenizer: Tokenizer) -> Float32 | None:
    if reading.pixels is None or planned.network.vision is None:
        return None
    patches, positions = to_patches(reading.pixels, image_settings(planned.network.vision, tokenizer))
    return embed_patches(planned.checkpoint, planned.network, patches, positions)


class _Fit:
    """Writes each matrix when its inputs are known.

    Args:
        tokens: of the sample; what lies behind them is only measured.
    """

    def __init__(self, filling: Filling, planned: Planned, tokens: int) -> None:
        self._filling, self._planned, self._tokens = filling, planned, tokens

    def visit(self, name: str, sources: tuple[str, ...], x: Float32) -> None:  # noqa: ARG002 - a weight knows its own
        if not self._planned.fitted:
            self._filling.report(name)
        for weight in self._filling.matrices(DECODER, name):
            if not self._planned.fits(weight):
                continue
            if self._filling.finished(DECODER, weight.name):
                self._filling.fill(DECODER, weight)
                continue
            fitted = self._gptq if self._planned.precisions.method == "gptq" else self._awq
            self._filling.fill(DECODER, weight, fitted(weight, x[: self._tokens]))

    def _gptq(self, weight: Weight, x: Float32) -> Rounder:
        pieces = len(parts(x.shape[1], BLOCK_SIZE))
        if pieces > 1:
            log.info("%s: %d inputs, GPTQ with the Hessian in %d parts", weight.name, x.shape[1], pieces)
        return gptq_rounder(feedback(x, BLOCK_SIZE), moments(x), symmetric=not weight.has_zeros)

    def _awq(self, weight: Weight, x: Float32) -> Rounder:
        """A matrix behind a norm gets factors, which the norm takes back; any other only weighs its errors."""
        norm = self._norm_before(weight)
        factors = np.ones(x.shape[1], np.float32) if norm is None else self._factors(weight, norm, x)
        return awq_rounder(factors, moments(x), symmetric=not weight.has_zeros)

    def _factors(self, weight: Weight, norm: Weight, x: Float32) -> Float32:
        """The norm is written first: who goes on after a stop between the two finds the factors there."""
        own = vector(self._planned.checkpoint, norm.sources[0])
        if not self._filling.finished(DECODER, norm.name):
            rows = (next(iter(self._planned.checkpoint.rows(source))) for source in weight.sources)
            grid = Grid(symmetric=not weight.has_zeros)
            self._filling.fill(DECODER, norm, divisor=best_factors(rows, np.abs(x).mean(axis=0), moments(x), grid))
        stored = self._filling.read(DECODER, norm)
        return np.divide(own, stored, out=np.ones_like(own), where=stored != 0)

    def _norm_before(self, weight: Weight) -> Weight | None:
        """Of a whole matrix, whose inputs are a norm's outputs and nobody else's."""
        for matrix, norm in NORMS.items():
            if weight.name.endswith(matrix):
                return self._planned.files[DECODER].weights[f"{weight.name.removesuffix(matrix)}{norm}.weight"]
        return None
