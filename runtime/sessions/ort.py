"""Sessions on ONNX Runtime: the vision tower, and the decoder with its KV caches, in the memory of any device.

The decoder writes each layer's keys and values in place: `past` and `present` are bound to the same memory for the
life of a cache, and a decode step binds nothing and allocates nothing.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt

try:
    import onnxruntime as ort
except ImportError as error:
    raise ImportError("no onnxruntime: pip install 'lineside[cpu]', or 'lineside[cuda]' on an NVIDIA GPU") from error

from lineside.runtime.cores import usable_cores
from lineside.runtime.errors import BundleDamaged, DeviceFailed, DeviceOutOfMemory, DeviceUnusable, FeaturesMissing
from lineside.runtime.patches import to_grid, to_patches
from lineside.runtime.sessions.best_tokens import BestTokens
from lineside.runtime.sessions.device_cache import DeviceCache
from lineside.runtime.sessions.device_memory import Buffer, DeviceMemory, HostMemory
from lineside.runtime.sessions.interface import MAX_DECODE_TOKENS, Picker

if TYPE_CHECKING:
    from lineside.runtime.bundle import Bundle
    from lineside.runtime.manifest import ImageSettings

log = logging.getLogger("lineside.session")
Loading = Future[ort.InferenceSession]
Read = TypeVar("Read", npt.NDArray[np.float32], list[int])
SPIN_US = 1000
"""How long an idle thread waits for work awake: over what lies between two decode steps, but not much longer, since it
takes a core from the other session. Waking it for every step cost 7 % of a small model's."""
PREFILL_TOKENS = 256
"""On a CPU larger chunks are no faster."""
CPU = "CPUExecutionProvider"
CPU_GRAPH = "decoder.onnx"
"""The decoder that may round activations to 8 bits; all others compute with them as they are."""
GRAPH_ID, NO_GRAPH = "gpu_graph_id", "-1"
"""ONNX Runtime's run option that names a captured CUDA graph, and its value for a pass that is not captured."""


def session_options(threads: int) -> ort.SessionOptions:
    """`threads` 0 means as many as the process may use."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads or usable_cores()
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.spin_duration_us", str(SPIN_US))
    return options


def load_graph(path: Path, threads: int, providers: Sequence[Any] = (CPU,)) -> ort.InferenceSession:
    """Raises BundleDamaged where the graph or its weights cannot be loaded; DeviceOutOfMemory, DeviceUnusable."""
    wanted = providers[0] if isinstance(providers[0], str) else providers[0][0]
    options = session_options(threads)
    try:
        session = ort.InferenceSession(str(path), options, providers=list(providers), enable_fallback=False)
    except Exception as error:  # ONNX Runtime raises a dozen unrelated types here
        if is_out_of_memory(error):
            raise DeviceOutOfMemory(f"{path} does not fit into the device's memory ({error})") from error
        if wanted != CPU:
            raise DeviceUnusable(f"{path} cannot be loaded on {wanted}: {error}") from error
        raise BundleDamaged(f"{path} cannot be loaded: {error}") from error
    if session.get_providers()[0] != wanted:  # it goes on without, with a line on stderr
        libraries = "CUDA's and cuDNN's libraries are missing or of another version: pip install 'lineside[cuda]'"
        raise DeviceUnusable(f"ONNX Runtime could not load its {wanted}: {libraries}")
    return session


def is_out_of_memory(error: Exception) -> bool:
    """ONNX Runtime says so in words only."""
    text = str(error).lower()
    return any(words in text for words in ("out of memory", "failed to allocate memory", "alloc_failed", "bad alloc"))


def failed(error: Exception) -> DeviceFailed:
    """What a pass raises for an error of ONNX Runtime's."""
    if is_out_of_memory(error):
        return DeviceOutOfMemory(f"the device's memory is full ({error})")
    return DeviceFailed(f"the device failed: {error}")


class OrtVision:
    """The vision tower. Its graph takes and gives float32 whatever it computes in."""

    def __init__(
        self,
        bundle: Bundle,
        image: ImageSettings,
        threads: int = 0,
        *,
        graph: str = "vision.onnx",
        providers: Sequence[Any] = (CPU,),
        memory: DeviceMemory | None = None,
    ) -> None:
        self._settings, self._memory = image, memory or HostMemory()
        self._session = load_graph(bundle.file(graph), threads, providers)

    def embed(self, pixels: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        return self._run("image_embeds", pixels)

    def features(self, pixels: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        if all(output.name != "patch_features" for output in self._session.get_outputs()):
            raise FeaturesMissing("the bundle is from a version without patch features: export it again")
        return to_grid(self._run("patch_features", pixels)[0], pixels.shape, self._settings)

    def _run(self, output: str, pixels: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        patches, positions = to_patches(pixels, self._settings)
        with self._memory.lock:
            try:
                found = self._session.run([output], {"patches": patches, "positions": positions})
            except Exception as error:  # as in `load_graph`
                raise failed(error) from error
        return np.asarray(found[0], np.float32)


class OrtDecoder:
    """The decoder on ONNX Runtime.

    Args:
        graph, providers: what to run it on; left out, the CPU.
        kv_dtype: of the caches; the manifest's where left out.
        capture: record each decode pass of one token as a CUDA graph and replay it. ONNX Runtime keeps a recording
            for the thread that made it, so that all passes run on one thread then.
        cache_lengths: see `runtime.sessions.interface.Decoder`.
        loading: the graph, where it is being loaded already.
    """

    def __init__(
        self,
        bundle: Bundle,
        threads: int = 0,
        *,
        graph: str = CPU_GRAPH,
        providers: Sequence[Any] = (CPU,),
        memory: DeviceMemory | None = None,
        kv_dtype: str = "",
        prefill_tokens: int = PREFILL_TOKENS,
        capture: bool = False,
        cache_lengths: tuple[int, ...] = (),
        loading: Loading | None = None,
    ) -> None:
        self._manifest = manifest = bundle.manifest
        self._memory = memory or HostMemory()
        self._dtype, self._capture = kv_dtype or manifest.kv.dtype, capture
        self._graph_ids = itertools.count(1)
        self._thread = ThreadPoolExecutor(1, "decoder") if capture else None
        self.prefill_tokens, self.cache_lengths, self.device = prefill_tokens, cache_lengths, self._memory.device
        self.bytes_per_token = manifest.kv.bytes_of(self._dtype)
        self.bytes_per_cache = DeviceCache.bytes_besides(manifest)
        self.exact = graph != CPU_GRAPH
        self.scored_heads = manifest.num_attention_heads if self.device == "cpu" and self._dtype == "float16" else 0
        self._session = loading.result() if loading else load_graph(bundle.file(graph), threads, providers)
        finds_best = any(output.name == "best" for output in self._session.get_outputs())
        self._best = BestTokens(self._memory) if finds_best else None
        allocate = self._memory.allocate
        self._ids = allocate((1, MAX_DECODE_TOKENS), np.int64, twin=True)
        self._rows = allocate((MAX_DECODE_TOKENS,), np.int64, twin=True)
        self._rows.array[:] = np.arange(MAX_DECODE_TOKENS)
        self._memory.push(self._rows, 0, MAX_DECODE_TOKENS)
        self._last = allocate((1,), np.int64, twin=True)
        self._seqlens = allocate((1,), np.int32, twin=True)
        self._total = HostMemory().allocate((), np.int32)
        self._chunk = self._allocate_chunk(MAX_DECODE_TOKENS)
        self._no_image = self._allocate_chunk(1)[1]

    @property
    def picker(self) -> Picker | None:
        """None for a CPU's graphs, and for those for CUDA of earlier versions."""
        return self if self._best is not None else None

    def allocate(self, capacity: int) -> DeviceCache:
        with self._memory.lock:
            return DeviceCache(self._memory, self._manifest, self._dtype, capacity)

    def recycle(self, cache: DeviceCache) -> bool:
        if self.device == "cpu":
            return False
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
        with self._memory.lock:
            return self._prefill(cache, ids, past, image_embeds, int(logits))

    def decode(self, cache: DeviceCache, ids: Sequence[int], past: int) -> npt.NDArray[np.float32]:
        return self._pass(cache, ids, past, cache.read_logits)

    def likeliest(self, cache: DeviceCache, ids: Sequence[int], past: int) -> list[int]:
        assert self._best is not None
        return self._pass(cache, ids, past, self._best.read)

    def row(self, cache: DeviceCache, index: int) -> npt.NDArray[np.float32]:
        with self._memory.lock:
            return cache.read_row(index)

    def _pass(self, cache: DeviceCache, ids: Sequence[int], past: int, read: Callable[[int], Read]) -> Read:
        """What `read` gives of so many rows, behind a pass of these tokens."""
        with self._memory.lock:
            captured = self._capture and len(ids) == 1
            try:
                self._decode(cache, ids, past, captured)
                return read(len(ids))
            except DeviceFailed as error:
                if not captured or isinstance(error, DeviceOutOfMemory):
                    raise
                log.warning("decoding goes on without CUDA graphs: %s", error)
                self._capture = False
            self._decode(cache, ids, past, captured=False)
            return read(len(ids))

    def _prefill(
        self,
        cache: DeviceCache,
        ids: npt.NDArray[np.int64],
        past: int,
        image_embeds: npt.NDArray[np.float32] | None,
        rows: int,
    ) -> npt.NDArray[np.float32]:
        length = len(ids)
        if length > self._chunk[0].shape[1]:
            self._chunk = self._allocate_chunk(max(length, self.prefill_tokens))
        tokens, images = self._chunk
        tokens.array[0, :length] = ids
        self._memory.push(tokens, 0, length)
        shown = 0 if image_embeds is None else len(image_embeds)
        if images is not None and image_embeds is not None and shown:
            images.array[:shown] = image_embeds
            self._memory.push(images, 0, image_embeds.size)
        self._last.array[0] = length - 1
        self._memory.push(self._last, 0, 1)
        asked = rows if self._best is None else 1  # a GPU's kernels may refuse to look for the best of no rows
        binding = self._bind(cache, (tokens, (1, length)), (self._last, (asked,)), images, max(shown, 1))
        self._run(binding, _options(NO_GRAPH), past + length - 1, past + length)
        return cache.read_logits(rows)

    def _decode(self, cache: DeviceCache, ids: Sequence[int], past: int, captured: bool) -> None:
        length = len(ids)
        bound = cache.passes.get((length, captured))
        if bound is None:
            tokens, rows = (self._ids, (1, length)), (self._rows, (length,))
            options = _options(str(next(self._graph_ids)) if captured else NO_GRAPH)
            bound = cache.passes[length, captured] = (self._bind(cache, tokens, rows, self._no_image, 1), options)
        self._ids.array[0, :length] = ids
        self._memory.push(self._ids, 0, length)
        # A replayed graph keeps the total that it was recorded with: it must hold for every later pass.
        total = cache.capacity if captured else past + length
        self._run(bound[0], bound[1], past + length - 1, total)

    def _run(self, binding: ort.IOBinding, options: ort.RunOptions, last: int, total: int) -> None:
        """`last` is the index of the last token."""
        self._seqlens.array[0] = last
        self._memory.push(self._seqlens, 0, 1)
        self._total.array[()] = total
        self._memory.synchronize()
        try:
            if self._thread is None:
                self._session.run_with_iobinding(binding, options)
            else:
                self._thread.submit(self._session.run_with_iobinding, binding, options).result()
        except Exception as error:  # as in `load_graph`
            raise failed(error) from error

    def _allocate_chunk(self, tokens: int) -> tuple[Buffer, Buffer | None]:
        """Ids `(1, tokens)` and image embeddings `(tokens, hidden)` of the prompt's next chunk."""
        ids = self._memory.allocate((1, tokens), np.int64, twin=True)
        if self._manifest.image is None:
            return ids, None
        return ids, self._memory.allocate((tokens, self._manifest.hidden_size), np.float32, twin=True)

    def _bind(
        self,
        cache: DeviceCache,
        ids: tuple[Buffer, tuple[int, ...]],
        rows: tuple[Buffer, tuple[int, ...]],
        images: Buffer | None,
        shown: int,
    ) -> ort.IOBinding:
        """Buffers come with the shape of what is used of them, from their start."""
        device, vocab_size = self._memory.device, self._manifest.vocab_size
        binding = self._session.io_binding()
        inputs: Mapping[str, tuple[Buffer, tuple[int, ...]]] = {
            "ids": ids,
            "rows": rows,
            "seqlens": (self._seqlens, (1,)),
            **({} if images is None else {"image_embeds": (images, (shown, self._manifest.hidden_size))}),
            **{f"past.{name}": (buffer, buffer.shape) for name, buffer in cache.buffers.items()},
        }
        for name, (buffer, shape) in inputs.items():
            binding.bind_input(name, device, 0, buffer.dtype, shape, buffer.pointer)
        binding.bind_input("total", "cpu", 0, self._total.dtype, (), self._total.pointer)
        binding.bind_output("logits", device, 0, np.float32, (*rows[1], vocab_size), cache.logits.pointer)
        for name, (buffer, shape) in ({} if self._best is None else self._best.outputs(*rows[1])).items():
            binding.bind_output(name, device, 0, buffer.dtype, shape, buffer.pointer)
        for name, buffer in cache.buffers.items():
            binding.bind_output(f"present.{name}", device, 0, buffer.dtype, buffer.shape, buffer.pointer)
        return binding


def _options(graph_id: str) -> ort.RunOptions:
    options = ort.RunOptions()
    options.add_run_config_entry(GRAPH_ID, graph_id)
    return options


def open_cpu(bundle: Bundle, threads: int = 0, loading: Loading | None = None) -> tuple[OrtVision | None, OrtDecoder]:
    """The sessions of a bundle on the CPU; `loading` is its decoder's graph, where that began before. Raises
    BundleDamaged.
    """
    image = bundle.manifest.image
    vision = OrtVision(bundle, image, threads) if image else None
    return vision, OrtDecoder(bundle, threads, loading=loading)
