"""Sessions on ONNX Runtime: the vision tower, and the decoder with its KV caches.

The decoder writes each layer's keys and values in place: `past` and `present` are bound to the same memory for the
life of a cache, and a decode step binds nothing and allocates nothing.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

try:
    import onnxruntime as ort
except ImportError as error:
    raise ImportError("no onnxruntime: pip install 'lineside[cpu]', or 'lineside[cuda]' on an NVIDIA GPU") from error

from runtime.bundle import Bundle, ImageSettings, Manifest
from runtime.errors import BundleDamaged, FeaturesMissing
from runtime.picture import to_grid, to_patches
from runtime.session import MAX_DECODE_TOKENS


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

    def __init__(self, bundle: Bundle, image: ImageSettings, threads: int = 0) -> None:
        self._settings = image
        self._session = load_graph(bundle.file("vision.onnx"), threads)

    def embed(self, pixels: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        return self._run("image_embeds", pixels)

    def features(self, pixels: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        if all(output.name != "patch_features" for output in self._session.get_outputs()):
            raise FeaturesMissing("the bundle is from a version without patch features: export it again")
        return to_grid(self._run("patch_features", pixels)[0], pixels.shape, self._settings)

    def _run(self, output: str, pixels: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        patches, positions = to_patches(pixels, self._settings)
        result: npt.NDArray[np.float32] = self._session.run([output], {"patches": patches, "positions": positions})[0]
        return result


@dataclass(frozen=True)
class SharedBuffers:
    """What every call reads or writes, allocated once. `no_image` is None for a model without vision."""

    ids: npt.NDArray[np.int64]
    rows: npt.NDArray[np.int64]
    seqlens: npt.NDArray[np.int32]
    total: npt.NDArray[np.int32]
    no_image: npt.NDArray[np.float32] | None


class OrtCache:
    """Keys and values `(1, kv, capacity, head_dim)` of every layer, the logits of the last pass, and their bindings."""

    def __init__(self, session: ort.InferenceSession, manifest: Manifest, capacity: int, shared: SharedBuffers) -> None:
        self.capacity = capacity
        kv = manifest.kv
        shape = (1, kv.num_key_value_heads, capacity, kv.head_dim)
        names = [f"{layer}.{part}" for layer in range(kv.num_hidden_layers) for part in ("key", "value")]
        # The arrays must outlive the OrtValues, which only point at them. Untouched pages take no memory.
        self.arrays = {name: np.zeros(shape, kv.dtype) for name in names}
        self._values = {name: ort.OrtValue.ortvalue_from_numpy(array) for name, array in self.arrays.items()}
        self._session, self._shared = session, shared
        self.logits = np.empty((MAX_DECODE_TOKENS, manifest.vocab_size), np.float32)
        self._decode: dict[int, ort.IOBinding] = {}

    def decode_binding(self, length: int) -> ort.IOBinding:
        """The pass that appends `length` tokens and gives the logits of all of them; bound once."""
        binding = self._decode.get(length)
        if binding is None:
            shared = self._shared
            binding = self.bind(shared.ids[:length].reshape(1, -1), None, shared.rows[:length], self.logits[:length])
            self._decode[length] = binding
        return binding

    def bind(
        self,
        ids: npt.NDArray[np.int64],
        image_embeds: npt.NDArray[np.float32] | None,
        rows: npt.NDArray[np.int64],
        logits: npt.NDArray[np.float32],
    ) -> ort.IOBinding:
        """The arrays must stay where they are for as long as the binding is used."""
        shared = self._shared
        binding = self._session.io_binding()
        arrays = {"ids": ids, "rows": rows, "seqlens": shared.seqlens, "total": shared.total}
        if shared.no_image is not None:
            arrays["image_embeds"] = shared.no_image if image_embeds is None else image_embeds
        for name, array in arrays.items():
            binding.bind_ortvalue_input(name, ort.OrtValue.ortvalue_from_numpy(array))
        binding.bind_ortvalue_output("logits", ort.OrtValue.ortvalue_from_numpy(logits))
        for name, value in self._values.items():
            binding.bind_ortvalue_input(f"past.{name}", value)
            binding.bind_ortvalue_output(f"present.{name}", value)
        return binding


class OrtDecoder:
    """The decoder on ONNX Runtime's CPU kernels."""

    def __init__(self, bundle: Bundle, threads: int = 0) -> None:
        manifest = bundle.manifest
        self._manifest = manifest
        self.bytes_per_cache = MAX_DECODE_TOKENS * manifest.vocab_size * 4  # logits, which wait for their request
        self._session = load_graph(bundle.file("decoder.onnx"), threads)
        self._shared = SharedBuffers(
            ids=np.zeros(MAX_DECODE_TOKENS, np.int64),
            rows=np.arange(MAX_DECODE_TOKENS, dtype=np.int64),
            seqlens=np.zeros(1, np.int32),
            total=np.zeros((), np.int32),
            no_image=np.zeros((1, manifest.hidden_size), np.float32) if manifest.image else None,
        )

    def allocate(self, capacity: int) -> OrtCache:
        return OrtCache(self._session, self._manifest, capacity, self._shared)

    def copy_prefix(self, source: OrtCache, target: OrtCache, length: int) -> None:
        for name, array in source.arrays.items():
            target.arrays[name][:, :, :length] = array[:, :, :length]

    def prefill(
        self,
        cache: OrtCache,
        ids: npt.NDArray[np.int64],
        past: int,
        image_embeds: npt.NDArray[np.float32] | None = None,
        *,
        logits: bool = True,
    ) -> npt.NDArray[np.float32]:
        tokens = np.ascontiguousarray(ids, dtype=np.int64).reshape(1, -1)
        embeds = None if image_embeds is None or not len(image_embeds) else np.ascontiguousarray(image_embeds)
        rows = np.asarray([len(ids) - 1] if logits else [], np.int64)
        out = cache.logits[: len(rows)]
        self._run(cache.bind(tokens, embeds, rows, out), past, len(ids))
        return out

    def decode(self, cache: OrtCache, ids: Sequence[int], past: int) -> npt.NDArray[np.float32]:
        length = len(ids)
        self._shared.ids[:length] = ids
        self._run(cache.decode_binding(length), past, length)
        return cache.logits[:length]

    def _run(self, binding: ort.IOBinding, past: int, length: int) -> None:
        self._shared.seqlens[0] = past + length - 1
        self._shared.total[()] = past + length
        self._session.run_with_iobinding(binding)
