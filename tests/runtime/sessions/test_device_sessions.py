"""The sessions for GPUs without one: the same code, on ONNX Runtime's CPU kernels, in memory apart from the host's."""

from __future__ import annotations

import dataclasses
import gc
import shutil
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from cuda.bindings import runtime as cuda_runtime

from lineside.export.bundle.options import ExportOptions
from lineside.export.bundle.writer import export_bundle
from lineside.runtime.bundle import Bundle, open_bundle
from lineside.runtime.chat import Prompt
from lineside.runtime.engine.engine import Engine, Limits
from lineside.runtime.engine.sampling import GREEDY
from lineside.runtime.errors import DeviceFailed, DeviceOutOfMemory, DeviceUnusable, EnginesUnusable, PromptTooLong
from lineside.runtime.sessions.cuda import open_cuda
from lineside.runtime.sessions.interface import Decoder, Vision
from lineside.runtime.sessions.ort import OrtDecoder, OrtVision
from lineside.runtime.sessions.selftest import relative_error
from lineside.runtime.sessions.tensorrt.library import import_tensorrt
from lineside.runtime.sessions.tensorrt.program import TensorRTProgram
from lineside.runtime.sessions.tensorrt.session import open_tensorrt
from lineside.runtime.sessions.try_out import try_out
from lineside.runtime.text.tokenizer import Tokenizer
from tests.support.checkpoints import CASES, copy_checkpoint
from tests.support.cuda import EmulatedCuda, EmulatedMemory
from tests.support.device_sessions import (
    EXACT,
    HALF_TOLERANCE,
    LENGTHS,
    images_of,
    new,
    on_cuda,
    on_tensorrt,
    pixels,
    reference,
    run,
    worst,
)


@pytest.fixture(scope="module", params=CASES)
def bundle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("device")
    return open_bundle(export_bundle(copy_checkpoint(request.param, folder), folder / "bundle", ExportOptions(EXACT)))


def test_the_float16_graphs_in_device_memory(bundle: Bundle) -> None:
    """What runs on CUDA, but for CUDA itself: its graphs, its cache type, its memory, captured passes."""
    vision, decoder = reference(bundle)
    assert bundle.manifest.image is not None
    half = OrtVision(bundle, bundle.manifest.image, 1, graph="vision.float16.onnx")
    for side in (1, 2):
        seen, wanted = (v.embed(pixels(bundle, side, 3)) for v in (half, vision))
        assert seen.dtype == np.float32
        assert relative_error(seen, wanted) < HALF_TOLERANCE
    assert relative_error(half.features(pixels(bundle, 2, 3)), vision.features(pixels(bundle, 2, 3))) < HALF_TOLERANCE
    options: dict[str, Any] = {"graph": "decoder.float16.onnx", "kv_dtype": "float16", "capture": True}
    other = OrtDecoder(bundle, 1, memory=EmulatedMemory(), **options)
    images = images_of(vision, bundle)
    assert worst(run(other, bundle, images), run(decoder, bundle, images)) < HALF_TOLERANCE
    assert 2 * other.bytes_per_token == decoder.bytes_per_token


def on_cuda_in_float16(bundle: Bundle, cuda: EmulatedCuda) -> OrtDecoder:
    """What runs on CUDA, on the CPU's kernels: single tokens are recorded."""
    options: dict[str, Any] = {"graph": "decoder.float16.onnx", "kv_dtype": "float16", "capture": True}
    return OrtDecoder(bundle, 1, memory=EmulatedMemory(cuda), **options)


def test_cuda_finds_the_likeliest_tokens_where_the_logits_are(bundle: Bundle) -> None:
    cuda, vocab = EmulatedCuda(), bundle.manifest.vocab_size
    decoder = on_cuda_in_float16(bundle, cuda)
    cache = decoder.allocate(64)
    ids = np.random.default_rng(8).integers(100, vocab, size=16)
    assert decoder.picker is decoder
    assert decoder.prefill(cache, ids[:4], 0, logits=False).shape == (0, vocab)
    decoder.prefill(cache, ids[4:8], 4)
    for length in (1, 8, 1):
        rows = decoder.decode(cache, ids[8 : 8 + length].tolist(), 8).copy()
        before = cuda.pulled_bytes
        assert decoder.likeliest(cache, ids[8 : 8 + length].tolist(), 8) == rows.argmax(axis=1).tolist()
        assert cuda.pulled_bytes - before == 12 * length
        np.testing.assert_array_equal(decoder.row(cache, length - 1), rows[-1])
    image = np.full((1, bundle.manifest.hidden_size), np.nan, np.float32)
    decoder.prefill(cache, np.asarray([bundle.manifest.image_token_id]), 0, image, logits=False)
    assert decoder.likeliest(cache, [int(ids[0])], 1) == [-1], "a damaged weight is noticed"


def test_graphs_for_cuda_of_earlier_versions_work(bundle: Bundle, tmp_path: Path) -> None:
    """They do not look for the likeliest token: all logits come to the host."""
    copy = dataclasses.replace(bundle, path=Path(shutil.copytree(bundle.path, tmp_path / "copy")))
    graph = onnx.load(copy.file("decoder.float16.onnx"), load_external_data=False)
    for output in [output for output in graph.graph.output if output.name.startswith("best")]:
        graph.graph.output.remove(output)
    onnx.save(graph, copy.file("decoder.float16.onnx"))
    old, new_one = (on_cuda_in_float16(b, EmulatedCuda()) for b in (copy, bundle))
    assert old.picker is None
    images = images_of(reference(bundle)[0], bundle)
    assert worst(run(old, bundle, images), run(new_one, bundle, images)) == 0
    answers = []
    for decoder in (old, new_one):
        engine = Engine(bundle, Tokenizer(bundle.file("tekken.json")), None, decoder)
        with engine.sequence(Prompt(np.arange(100, 140)), reserve=20) as sequence:
            answers.append(engine.generate(sequence, max_tokens=20, sampling=GREEDY))
    assert answers[0] == answers[1]


Open = Callable[[Bundle, Path, EmulatedMemory], tuple[Vision, Decoder]]


@pytest.mark.parametrize("open_sessions", [on_cuda, on_tensorrt])
def test_the_engine_says_the_same_on_any_session(bundle: Bundle, tmp_path: Path, open_sessions: Open) -> None:
    """Long prompts in chunks, a reused prefix, and more caches than the budget holds."""
    tokenizer = Tokenizer(bundle.file("tekken.json"))
    limits = Limits(capacity=120)
    wanted = Engine(bundle, tokenizer, *reference(bundle), limits)
    found = Engine(bundle, tokenizer, *open_sessions(bundle, tmp_path, EmulatedMemory()), limits)
    rng = np.random.default_rng(5)
    begin = rng.integers(100, bundle.manifest.vocab_size, size=40)
    for length in (2, 50, 10, 70):
        ids = np.concatenate([begin, rng.integers(100, bundle.manifest.vocab_size, size=length)])
        answers = []
        for engine in (wanted, found):
            with engine.sequence(Prompt(ids), reserve=10) as sequence:
                answers.append(engine.generate(sequence, max_tokens=10))
        assert answers[0] == answers[1]
    assert found.pool.statistics().reused_tokens > 0
    with pytest.raises(PromptTooLong), found.sequence(Prompt(np.tile(begin, 4)), reserve=1):
        pass


def test_full_device_memory_is_survived(bundle: Bundle, tmp_path: Path) -> None:
    """Idle caches go first; a request that still finds no room fails alone, and the next one works."""
    cuda = EmulatedCuda()
    engine = Engine(
        bundle, Tokenizer(bundle.file("tekken.json")), *on_tensorrt(bundle, tmp_path, EmulatedMemory(cuda)),
        Limits(capacity=128, kv_cache_bytes=1 << 30),
    )  # fmt: skip
    rng = np.random.default_rng(6)

    def ask() -> None:
        prompt = Prompt(rng.integers(100, bundle.manifest.vocab_size, size=20))
        with engine.sequence(prompt, reserve=2) as sequence:
            engine.generate(sequence, max_tokens=2)

    empty = cuda.allocated_bytes
    ask()
    cuda.capacity_bytes = cuda.allocated_bytes  # not a byte more
    ask()
    assert engine.pool.statistics().evictions == 1
    gc.collect()
    cuda.capacity_bytes = empty
    engine.pool._entries.clear()
    with pytest.raises(DeviceOutOfMemory, match="the GPU's memory is full"):
        ask()
    cuda.capacity_bytes = 1 << 40
    ask()


class Failing:
    """A decoder whose device fails as often as told."""

    def __init__(self, decoder: Decoder, error: DeviceFailed) -> None:
        self._decoder, self._error, self.failures = decoder, error, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._decoder, name)

    def decode(self, cache: Any, ids: Any, past: int) -> npt.NDArray[np.float32]:
        if self.failures:
            self.failures -= 1
            raise self._error
        return self._decoder.decode(cache, ids, past)


class Narrow(Failing):
    """A decoder with room for the shortest cache."""

    def allocate(self, capacity: int) -> Any:
        if capacity > LENGTHS[0]:
            raise DeviceOutOfMemory("no memory for the cache")
        return self._decoder.allocate(capacity)


class Crowded(Failing):
    """A decoder whose passes find no memory beside more than `most` caches."""

    def __init__(self, decoder: Decoder, most: int) -> None:
        super().__init__(decoder, DeviceFailed(""))
        self.most, self.prefills = most, 0
        self.caches: weakref.WeakSet[Any] = weakref.WeakSet()

    def allocate(self, capacity: int) -> Any:
        cache = self._decoder.allocate(capacity)
        self.caches.add(cache)
        return cache

    def prefill(self, *arguments: Any, **named: Any) -> Any:
        self.prefills += 1
        if len(self.caches) > self.most:
            raise DeviceOutOfMemory("no memory for the activations")
        return self._decoder.prefill(*arguments, **named)


def asking(engine: Engine) -> Callable[[], None]:
    """Asks the engine something new each time."""
    rng = np.random.default_rng(7)

    def ask() -> None:
        prompt = Prompt(rng.integers(100, engine.bundle.manifest.vocab_size, size=20))
        with engine.sequence(prompt, reserve=2) as sequence:
            engine.generate(sequence, max_tokens=2)

    return ask


def test_a_pass_without_memory_is_tried_again_beside_fewer_caches(bundle: Bundle, tmp_path: Path) -> None:
    """And the number of caches stays where it fitted: no later request fails, or is read twice."""
    vision, decoder = on_tensorrt(bundle, tmp_path, EmulatedMemory())
    crowded = Crowded(decoder, most=1)
    limits = Limits(capacity=60, kv_cache_bytes=1 << 30)
    engine = Engine(bundle, Tokenizer(bundle.file("tekken.json")), vision, crowded, limits)
    ask = asking(engine)
    for _ in range(4):
        ask()
    assert crowded.prefills == 1 + 2 + 1 + 1
    assert engine.pool.budget.fitting_bytes == engine.pool.cost(LENGTHS[0])
    assert engine.pool.statistics().caches == 1


def test_a_request_that_does_not_fit_alone_fails_alone(bundle: Bundle, tmp_path: Path) -> None:
    vision, decoder = on_tensorrt(bundle, tmp_path, EmulatedMemory())
    crowded = Crowded(decoder, most=0)
    engine = Engine(bundle, Tokenizer(bundle.file("tekken.json")), vision, crowded)
    ask = asking(engine)
    with pytest.raises(DeviceOutOfMemory):
        ask()
    assert crowded.prefills == 2
    assert engine.pool.budget.used_bytes() == 0
    crowded.most = 1
    ask()


def test_a_cache_that_is_too_large_leaves_room_for_smaller_ones(bundle: Bundle, tmp_path: Path) -> None:
    vision, decoder = on_tensorrt(bundle, tmp_path, EmulatedMemory())
    narrow = Narrow(decoder, DeviceFailed(""))
    engine = Engine(bundle, Tokenizer(bundle.file("tekken.json")), vision, narrow, Limits(capacity=LENGTHS[-1]))
    large, small = engine.pool.cost(LENGTHS[-1]), engine.pool.cost(LENGTHS[0])
    with pytest.raises(DeviceOutOfMemory):
        engine.pool._allocate(LENGTHS[-1], [])
    assert small < engine.pool.budget.fitting_bytes < large


def test_what_others_hold_fits_and_is_waited_for(bundle: Bundle, tmp_path: Path) -> None:
    """A request that found no memory beside another one's cache begins when that one has ended."""
    vision, decoder = on_tensorrt(bundle, tmp_path, EmulatedMemory())
    crowded = Crowded(decoder, most=1)
    limits = Limits(capacity=60, kv_cache_bytes=1 << 30)
    engine = Engine(bundle, Tokenizer(bundle.file("tekken.json")), vision, crowded, limits)
    with engine.sequence(Prompt(np.arange(100, 120)), reserve=2) as first:
        second = threading.Thread(target=asking(engine))
        second.start()
        deadline = time.monotonic() + 60
        while crowded.prefills < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert crowded.prefills == 2, "it was tried beside the other one"
        second.join(0.2)
        assert second.is_alive()
        engine.generate(first, max_tokens=2)
    second.join(60)
    assert not second.is_alive()
    assert engine.pool.statistics().caches == 1


class Watched:
    """A session that notes which threads ran it."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self.threads: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def run_with_iobinding(self, *arguments: Any) -> None:
        self.threads.append(threading.current_thread().name)
        self._session.run_with_iobinding(*arguments)


def test_recorded_passes_run_on_one_thread(bundle: Bundle, tmp_path: Path) -> None:
    """Whichever requests they belong to: on another thread ONNX Runtime would record them again."""
    _, decoder = on_cuda(bundle, tmp_path, EmulatedMemory())
    assert isinstance(decoder, OrtDecoder)
    decoder._session = watched = Watched(decoder._session)
    cache = decoder.allocate(64)

    def ask(past: int) -> None:
        decoder.prefill(cache, np.arange(100, 110), 0)
        for i in range(2):
            decoder.decode(cache, [100 + i], past + i)

    threads = [threading.Thread(target=ask, args=(10,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(watched.threads) == 9
    assert set(watched.threads) == {"decoder_0"}


def test_memory_is_freed_behind_its_last_buffer() -> None:
    """By whoever next uses the device: a finalizer may run while a graph is recorded."""
    cuda = EmulatedCuda()
    memory = EmulatedMemory(cuda)
    buffer = memory.allocate((1, 2, 8, 4), np.float16, twin=True)
    assert not buffer.array.any()
    assert (cuda.allocated_bytes, len(cuda._pinned)) == (128, 1)
    array = buffer.array
    del buffer
    assert cuda.allocated_bytes == 128
    memory.free_unused()
    assert cuda.allocated_bytes == 0
    assert len(cuda._pinned) == 1, "a view of the host's side is still held"
    del array
    gc.collect()
    memory.free_unused()
    assert not cuda._pinned


def test_memory_of_a_session_that_is_gone_is_freed_by_the_next() -> None:
    """As where TensorRT's try-out fails and CUDA is tried behind it."""
    cuda = EmulatedCuda()
    memory = EmulatedMemory(cuda)
    buffer = memory.allocate((1, 2, 8, 4), np.float16)
    del buffer, memory
    gc.collect()
    assert cuda.allocated_bytes == 128
    EmulatedMemory(cuda)
    assert cuda.allocated_bytes == 0


@pytest.mark.parametrize(("error", "counted"), [(DeviceFailed("gone"), 2), (DeviceOutOfMemory("full"), 0)])
def test_failures_of_the_device_are_counted_until_one_works(bundle: Bundle, error: DeviceFailed, counted: int) -> None:
    vision, decoder = reference(bundle)
    failing = Failing(decoder, error)
    engine = Engine(bundle, Tokenizer(bundle.file("tekken.json")), vision, failing)
    prompt = Prompt(np.arange(100, 130))

    def ask() -> tuple[int, ...]:
        with engine.sequence(prompt, reserve=4) as sequence:
            return engine.generate(sequence, max_tokens=4).ids

    wanted = ask()
    failing.failures = 2
    for _ in range(2):
        with pytest.raises(DeviceFailed):
            ask()
    assert engine.device_failures == counted
    assert ask() == wanted, "what the cache held when the device failed was not used again"
    assert engine.device_failures == 0


def test_sessions_that_cannot_be_opened_say_why(bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(DeviceUnusable, match=r"build for CPUs: pip install 'lineside\[cuda\]'"):
        open_cuda(bundle, 64)
    files = {name: entry for name, entry in bundle.manifest.files.items() if "float16" not in name}
    old = dataclasses.replace(bundle, manifest=dataclasses.replace(bundle.manifest, files=files))
    with pytest.raises(DeviceUnusable, match="without graphs for CUDA: export it again"):
        open_cuda(old, 64)
    with pytest.raises(EnginesUnusable, match="no engines for sm89"):
        open_tensorrt(bundle, "sm89")
    module, _, _ = import_tensorrt()
    broken = tmp_path / "decoder.64.engine"
    broken.write_bytes(b"not an engine" * 100)
    with pytest.raises(EnginesUnusable, match=r"decoder.64.engine cannot be loaded \(.*magicTag.*build it anew"):
        TensorRTProgram(module, broken, EmulatedMemory())


def test_tensorrt_has_what_a_program_calls() -> None:
    """Without a GPU no engine can be loaded, but a renamed function is found."""
    module, _, _ = import_tensorrt()
    for kind, names in (
        (module.ICudaEngine, ("get_tensor_name", "get_tensor_mode", "num_io_tensors", "num_optimization_profiles")),
        (module.IExecutionContext, ("set_input_shape", "set_tensor_address", "execute_async_v3")),
        (module.IExecutionContext, ("set_optimization_profile_async",)),
        (module.ICudaEngine, ("create_runtime_config",)),
        (module.IRuntimeConfig, ("dynamic_shapes_kernel_specialization_strategy",)),
        (module.IRuntimeConfig, ("create_runtime_cache", "set_runtime_cache")),
        (module.IRuntimeCache, ("serialize", "deserialize")),
    ):
        for name in names:
            assert hasattr(kind, name)
    for name in vars(EmulatedCuda):
        assert not name.startswith("cuda") or hasattr(cuda_runtime, name)
    for name in ("cudaStreamBeginCapture", "cudaStreamEndCapture", "cudaGraphInstantiate", "cudaGraphLaunch"):
        assert hasattr(cuda_runtime, name)


def test_a_device_is_tried_out_before_it_is_relied_upon(bundle: Bundle, tmp_path: Path) -> None:
    try_out(bundle, *on_tensorrt(bundle, tmp_path, EmulatedMemory()))
    vision, decoder = on_cuda(bundle, tmp_path, EmulatedMemory())
    try_out(bundle, vision, decoder)
    _, decoder_with_picker = on_tensorrt(bundle, new(tmp_path / "other"), EmulatedMemory())
    with pytest.raises(DeviceUnusable, match="another token there than the likeliest"):
        try_out(bundle, vision, PicksAnother(decoder_with_picker))
    for wrong, said in ((np.nan, "not finite"), (2.0, "in two ways")):
        with pytest.raises(DeviceUnusable, match=said):
            try_out(bundle, vision, Scaled(decoder, wrong))


class Unlikeliest:
    """Finds the token 0 wherever it looks."""

    def __init__(self, picker: Any) -> None:
        self.row = picker.row
        self._picker = picker

    def likeliest(self, cache: Any, ids: Any, past: int) -> list[int]:
        return [0 for _ in self._picker.likeliest(cache, ids, past)]


class PicksAnother(Failing):
    """A decoder that does not find the likeliest token."""

    def __init__(self, decoder: Decoder) -> None:
        super().__init__(decoder, DeviceFailed(""))
        self.picker = Unlikeliest(decoder.picker)


class Scaled(Failing):
    """A decoder whose passes of a single token are off by a factor."""

    def __init__(self, decoder: Decoder, factor: float) -> None:
        super().__init__(decoder, DeviceFailed(""))
        self._factor = factor

    def decode(self, cache: Any, ids: Any, past: int) -> npt.NDArray[np.float32]:
        rows = self._decoder.decode(cache, ids, past)
        return np.asarray(rows * self._factor, np.float32) if len(ids) == 1 else rows
