"""Sessions on ONNX Runtime: the vision tower, and the decoder with its KV cache bound once.

The decoder writes each layer's keys and values in place: `past` and `present` are bound to the same memory for the
life of the session, and a decode step binds nothing and allocates nothing.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

try:
    import onnxruntime as ort
except ImportError as error:
    raise ImportError("no onnxruntime: pip install 'lineside[cpu]', or 'lineside[cuda]' on an NVIDIA GPU") from error

from runtime.bundle import Bundle
from runtime.errors import BundleDamaged
from runtime.picture import to_patches


class Decoder(Protocol):
    """What the engine needs of a decoder session, whatever it runs on."""

    capacity: int

    def prefill(
        self, ids: npt.NDArray[np.int64], past: int, image_embeds: npt.NDArray[np.float32] | None
    ) -> npt.NDArray[np.float32]:
        """Append ids `(T,)` behind `past` cached tokens; `image_embeds` are those of the [IMG] tokens in `ids`.

        Returns the logits `(vocab,)` of the last position: a view that the next call overwrites.
        """

    def step(self, token: int, past: int) -> npt.NDArray[np.float32]:
        """Append one token; same result as a prefill of length 1."""


class Vision(Protocol):
    def embed(self, pixels: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Normalized pixels `(3, H, W)` to image embeddings `(I, hidden)`."""


def session_options(threads: int) -> ort.SessionOptions:
    """`threads` 0 means one a core."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads or os.cpu_count() or 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return options


def load_graph(path: Path, threads: int) -> ort.InferenceSession:
    """Raises BundleDamaged where ONNX Runtime cannot load the graph or its weights."""
    try:
        return ort.InferenceSession(str(path), session_options(threads), providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime raises a dozen unrelated types here
        raise BundleDamaged(f"{path} cannot be loaded: {error}") from error


class OrtVision:
    """The vision tower on ONNX Runtime's CPU kernels."""

    def __init__(self, bundle: Bundle, threads: int = 0) -> None:
        self._settings = bundle.manifest.image
        self._session = load_graph(bundle.file("vision.onnx"), threads)

    def embed(self, pixels: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        patches, positions = to_patches(pixels, self._settings)
        embeds: npt.NDArray[np.float32] = self._session.run(None, {"patches": patches, "positions": positions})[0]
        return embeds


class OrtDecoder:
    """The decoder on ONNX Runtime's CPU kernels.

    Args:
        capacity: tokens that the KV cache holds; its bytes are `manifest.kv.bytes_per_token * capacity`.
    """

    def __init__(self, bundle: Bundle, capacity: int, threads: int = 0) -> None:
        manifest = bundle.manifest
        self.capacity = capacity
        self._session = load_graph(bundle.file("decoder.onnx"), threads)
        shape = (1, manifest.kv.num_key_value_heads, capacity, manifest.kv.head_dim)
        names = [f"{layer}.{part}" for layer in range(manifest.kv.num_hidden_layers) for part in ("key", "value")]
        # The arrays must outlive the OrtValues, which only point at them.
        self._cache = {name: np.zeros(shape, np.float32) for name in names}
        self._cache_values = {name: ort.OrtValue.ortvalue_from_numpy(array) for name, array in self._cache.items()}
        self._seqlens, self._total = np.zeros(1, np.int32), np.zeros((), np.int32)
        self._no_image = np.zeros((1, manifest.hidden_size), np.float32)
        self._logits = np.zeros((1, manifest.vocab_size), np.float32)
        self._token = np.zeros((1, 1), np.int64)
        self._step_binding = self._bind(self._token, self._no_image)
        self._run_options = ort.RunOptions()

    def _bind(self, ids: npt.NDArray[np.int64], image_embeds: npt.NDArray[np.float32]) -> ort.IOBinding:
        binding = self._session.io_binding()
        for name, array in (
            ("ids", ids),
            ("image_embeds", image_embeds),
            ("seqlens", self._seqlens),
            ("total", self._total),
        ):
            binding.bind_ortvalue_input(name, ort.OrtValue.ortvalue_from_numpy(array))
        binding.bind_ortvalue_output("logits", ort.OrtValue.ortvalue_from_numpy(self._logits))
        for name, value in self._cache_values.items():
            binding.bind_ortvalue_input(f"past.{name}", value)
            binding.bind_ortvalue_output(f"present.{name}", value)
        return binding

    def _run(self, binding: ort.IOBinding, past: int, length: int) -> npt.NDArray[np.float32]:
        self._seqlens[0] = past + length - 1
        self._total[()] = past + length
        self._session.run_with_iobinding(binding, self._run_options)
        row: npt.NDArray[np.float32] = self._logits[0]
        return row

    def prefill(
        self, ids: npt.NDArray[np.int64], past: int, image_embeds: npt.NDArray[np.float32] | None
    ) -> npt.NDArray[np.float32]:
        row = np.ascontiguousarray(ids, dtype=np.int64).reshape(1, -1)
        embeds = self._no_image if image_embeds is None or not len(image_embeds) else np.ascontiguousarray(image_embeds)
        return self._run(self._bind(row, embeds), past, row.shape[1])

    def step(self, token: int, past: int) -> npt.NDArray[np.float32]:
        self._token[0, 0] = token
        return self._run(self._step_binding, past, 1)
