"""Sessions on TensorRT engines: the vision tower, and the decoder with its KV caches in the GPU's memory.

An engine has a fixed length of the cache, and a mask says what of it a token sees. What an engine is to a session is a
`Program`; `runtime.sessions.tensorrt.program` has the real one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from lineside.runtime.bundle import Bundle
from lineside.runtime.errors import DeviceUnusable, EnginesUnusable
from lineside.runtime.manifest import ImageSettings, Manifest
from lineside.runtime.patches import to_grid, to_patches
from lineside.runtime.sessions.best_tokens import BestTokens
from lineside.runtime.sessions.device_cache import DeviceCache
from lineside.runtime.sessions.device_memory import Buffer, DeviceMemory, Tensors
from lineside.runtime.sessions.interface import MAX_DECODE_TOKENS, Picker
from lineside.runtime.sessions.tensorrt.engine_files import EngineSet, find_engines

DECODE, PREFILL = 0, 1
"""Profiles of a decoder engine."""
HIDDEN = -6e4
"""In the mask, where a token may not look: near float16's least number."""


class Program(Protocol):
    def bind(self, profile: int, tensors: Tensors, *, capture: bool = False) -> Callable[[], None]:
        """What runs the engine on these buffers, in the order of the memory's stream. Its call raises DeviceFailed."""


class TensorRTVision:
    """The vision tower."""

    def __init__(self, image: ImageSettings, hidden_size: int, dtype: str, memory: DeviceMemory, program: Program):
        self._settings, self._hidden_size, self._memory, self._program = image, hidden_size, memory, program
        most = (image.max_image_size // image.patch_size) ** 2
        width = 3 * image.patch_size**2
        self._patches = memory.allocate((1, most, width), dtype, twin=True)
        self._positions = memory.allocate((1, most), np.int64, twin=True)
        self._features = memory.allocate((1, most, image.hidden_size), dtype, twin=True)
        self._embeds = memory.allocate((most // image.spatial_merge_size**2, hidden_size), dtype, twin=True)

    def embed(self, pixels: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        with self._memory.lock:
            count = self._run(pixels) // self._settings.spatial_merge_size**2
            return self._read(self._embeds, count * self._hidden_size).reshape(count, -1)

    def features(self, pixels: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        with self._memory.lock:
            count = self._run(pixels)
            found = self._read(self._features, count * self._settings.hidden_size).reshape(count, -1)
        return to_grid(found, pixels.shape, self._settings)

    def _run(self, pixels: npt.NDArray[np.float32]) -> int:
        """The number of patches."""
        patches, positions = to_patches(pixels, self._settings)
        count, width = patches.shape[1:]
        tokens = count // self._settings.spatial_merge_size**2
        self._patches.array[:, :count] = patches
        self._positions.array[:, :count] = positions
        self._memory.push(self._patches, 0, patches.size)
        self._memory.push(self._positions, 0, count)
        tensors = {
            "patches": (self._patches, (1, count, width)),
            "positions": (self._positions, (1, count)),
            "patch_features": (self._features, (1, count, self._settings.hidden_size)),
            "image_embeds": (self._embeds, (tokens, self._hidden_size)),
        }
        self._program.bind(0, tensors)()
        return int(count)

    def _read(self, buffer: Buffer, count: int) -> npt.NDArray[np.float32]:
        self._memory.pull(buffer, 0, count)
        self._memory.synchronize()
        return buffer.array.reshape(-1)[:count].astype(np.float32)


class TensorRTDecoder:
    """The decoder.

    Args:
        programs: by the length of the cache; each has the profiles `DECODE` and `PREFILL`.
    """

    scored_heads, device, exact = 0, "cuda", True

    def __init__(
        self, manifest: Manifest, engines: EngineSet, memory: DeviceMemory, programs: Mapping[int, Program]
    ) -> None:
        self._manifest, self._memory, self._programs, self._dtype = manifest, memory, programs, engines.dtype
        self.cache_lengths = tuple(sorted(programs))
        self.prefill_tokens = chunk = min(engines.prefill_tokens, max(self.cache_lengths))
        self.bytes_per_token = manifest.kv.bytes_of(engines.dtype)
        self.bytes_per_cache = DeviceCache.bytes_besides(manifest)
        allocate = memory.allocate
        self._ids = allocate((1, chunk), np.int64, twin=True)
        self._positions = allocate((1, chunk), np.int64, twin=True)
        self._counted = np.arange(chunk)
        self._write_index = allocate((1,), np.int64, twin=True)
        rows = {n: min(chunk, n) for n in self.cache_lengths}
        self._masks = {n: allocate((1, 1, rows[n], n), engines.dtype, twin=True) for n in self.cache_lengths}
        self._last = allocate((1,), np.int64, twin=True)
        self._rows = allocate((MAX_DECODE_TOKENS,), np.int64, twin=True)
        self._rows.array[:] = np.arange(MAX_DECODE_TOKENS)
        memory.push(self._rows, 0, MAX_DECODE_TOKENS)
        self._best = BestTokens(memory)
        self._images = allocate((chunk, manifest.hidden_size), engines.dtype, twin=True) if manifest.image else None

    @property
    def picker(self) -> Picker:
        return self

    def allocate(self, capacity: int) -> DeviceCache:
        if capacity not in self._programs:
            raise ValueError(f"a cache of {capacity} tokens: the engines have {self.cache_lengths}")
        with self._memory.lock:
            return DeviceCache(self._memory, self._manifest, self._dtype, capacity)

    def recycle(self, cache: DeviceCache) -> bool:
        with self._memory.lock:
            cache.clear()
        return True

    def copy_prefix(self, source: DeviceCache, target: DeviceCache, length: int) -> None:
        with self._memory.lock:
            target.copy_prefix(source, length)

    def prefill(
        self,
        cache: DeviceCache,
        ids: npt.NDArray[np.int64],
        past: int,
        image_embeds: npt.NDArray[np.float32] | None = None,
        *,
        logits: bool = True,
    ) -> npt.NDArray[np.float32]:
        length = len(ids)
        shown = 0 if image_embeds is None else len(image_embeds)
        with self._memory.lock:
            if self._images is not None and image_embeds is not None and shown:
                self._images.array[:shown] = image_embeds
                self._memory.push(self._images, 0, image_embeds.size)
            self._last.array[0] = length - 1
            self._memory.push(self._last, 0, 1)
            self._place(cache, ids, past)
            self._bind(cache, PREFILL, length, (self._last, (1,)), max(shown, 1))()
            return cache.read_logits(int(logits))

    def decode(self, cache: DeviceCache, ids: Sequence[int], past: int) -> npt.NDArray[np.float32]:
        with self._memory.lock:
            self._decode(cache, ids, past)
            return cache.read_logits(len(ids))

    def likeliest(self, cache: DeviceCache, ids: Sequence[int], past: int) -> list[int]:
        with self._memory.lock:
            self._decode(cache, ids, past)
            return self._best.read(len(ids))

    def row(self, cache: DeviceCache, index: int) -> npt.NDArray[np.float32]:
        with self._memory.lock:
            return cache.read_row(index)

    def _decode(self, cache: DeviceCache, ids: Sequence[int], past: int) -> None:
        length = len(ids)
        bound = cache.passes.get(length)
        if bound is None:
            bound = cache.passes[length] = self._bind(cache, DECODE, length, (self._rows, (length,)), 1)
        self._place(cache, ids, past)
        bound()

    def _place(self, cache: DeviceCache, ids: npt.ArrayLike, past: int) -> None:
        """Send the tokens, where they stand, and what each of them sees."""
        tokens, positions, mask = self._ids.array[0], self._positions.array[0], self._masks[cache.capacity]
        length = int(np.size(ids))
        tokens[:length] = ids
        np.add(self._counted[:length], past, out=positions[:length])
        self._write_index.array[0] = past
        for row in range(length):
            mask.array[0, 0, row, : past + row + 1] = 0
            mask.array[0, 0, row, past + row + 1 :] = HIDDEN
        for buffer, count in (
            (self._ids, length),
            (self._positions, length),
            (self._write_index, 1),
            (mask, length * cache.capacity),
        ):
            self._memory.push(buffer, 0, count)

    def _bind(
        self, cache: DeviceCache, profile: int, length: int, rows: tuple[Buffer, tuple[int, ...]], shown: int
    ) -> Callable[[], None]:
        kv = {name: (buffer, buffer.shape) for name, buffer in cache.buffers.items()}
        mask = self._masks[cache.capacity]
        tensors: dict[str, tuple[Buffer, tuple[int, ...]]] = {
            "ids": (self._ids, (1, length)),
            "rows": rows,
            "positions": (self._positions, (1, length)),
            "write_index": (self._write_index, (1,)),
            "mask": (mask, (1, 1, length, cache.capacity)),
            "logits": (cache.logits, (*rows[1], self._manifest.vocab_size)),
            **self._best.outputs(*rows[1]),
            **{f"past.{name}": value for name, value in kv.items()},
            **{f"present.{name}": value for name, value in kv.items()},
        }
        if self._images is not None:
            tensors["image_embeds"] = self._images, (shown, self._manifest.hidden_size)
        return self._programs[cache.capacity].bind(profile, tensors, capture=profile == DECODE and length == 1)


def open_tensorrt(bundle: Bundle, target: str, gpu: str = "") -> tuple[TensorRTVision | None, TensorRTDecoder]:
    """The sessions of a bundle's engines on the first GPU, whose compute capability is `target`, such as `sm89`, and
    whose name is `gpu`.

    Raises DeviceUnusable, DeviceOutOfMemory, EnginesUnusable.
    """
    from lineside.runtime.sessions.cuda_memory import CudaMemory
    from lineside.runtime.sessions.tensorrt.program import TensorRTProgram

    module, folder, engines = _find(bundle, target, gpu)
    memory = CudaMemory()
    manifest = bundle.manifest
    lengths = {n: TensorRTProgram(module, folder / f"decoder.{n}.engine", memory) for n in engines.cache_lengths}
    if not lengths:
        raise EnginesUnusable(f"{folder} has no decoder: build it anew with `lineside engine`")
    decoder = TensorRTDecoder(manifest, engines, memory, lengths)
    if manifest.image is None:
        return None, decoder
    tower = TensorRTProgram(module, folder / "vision.engine", memory)
    return TensorRTVision(manifest.image, manifest.hidden_size, engines.dtype, memory, tower), decoder


def _find(bundle: Bundle, target: str, gpu: str) -> tuple[Any, Path, EngineSet]:
    """TensorRT and the engines that it can load. Raises DeviceUnusable, EnginesUnusable."""
    from lineside.runtime.sessions.tensorrt.library import MODULES, import_tensorrt

    refused: list[DeviceUnusable | EnginesUnusable] = []
    for name in MODULES:
        try:
            module, library, version = import_tensorrt([name])
            return module, *find_engines(bundle, target, library, version, gpu)
        except (DeviceUnusable, EnginesUnusable) as error:
            refused.append(error)
    raise max(refused, key=lambda error: isinstance(error, EnginesUnusable))
