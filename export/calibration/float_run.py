"""Tower and decoder in floats, over pictures and passages."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lineside.export.calibration.float_ops import Float32, FloatOps, Passage, Visit, no_visit
from lineside.export.checkpoint.source import Source
from lineside.export.network.config import NetworkConfig
from lineside.export.network.decoder import emit_decoder
from lineside.export.network.vision import emit_vision


def embed_patches(
    source: Source,
    network: NetworkConfig,
    patches: Float32,
    positions: npt.NDArray[np.int64],
    visit: Visit = no_visit,
) -> Float32:
    """Image embeddings `(I, hidden)` of patches `(1, N, 3*p*p)` at positions `(1, N)`, see `runtime.picture`."""
    assert network.vision is not None
    ops = FloatOps(source, patches=patches[0], positions=positions[0], visit=visit)
    emit_vision(ops, network.vision, network.decoder.hidden_size)
    return ops.image_embeds


def read_passages(
    source: Source, network: NetworkConfig, passages: tuple[Passage, ...], scored: int = 0, visit: Visit = no_visit
) -> FloatOps:
    """The passages, read one behind the other; with logits from token `scored` on."""
    ops = FloatOps(source, passages, visit=visit, scored=scored)
    emit_decoder(ops, network)
    return ops
