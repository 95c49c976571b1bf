"""How the graph stores keys and values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

KVDtype = Literal["float32", "float16", "int8"]


@dataclass(frozen=True)
class KVFormat:
    """`scales` belong to int8: for each `{layer}.key` and `{layer}.value` one a channel, `(kv_heads * head_dim,)`."""

    dtype: KVDtype = "float32"
    scales: Mapping[str, npt.NDArray[np.float32]] = field(default_factory=dict)


FLOAT_KV = KVFormat()
MARGIN = 1.1
"""Headroom of an INT8 cache for values that the sample does not show; what lies beyond is clipped."""


def kv_scales(largest: Mapping[str, npt.NDArray[np.float32]]) -> dict[str, npt.NDArray[np.float32]]:
    """Scales of an INT8 cache, by the largest magnitude of each channel."""
    least = np.finfo(np.float32).tiny
    return {name: np.maximum(values * np.float32(MARGIN / 127), least) for name, values in largest.items()}
