"""Which session is chosen, and what is said of the others; no GPU is needed to refuse one."""

from __future__ import annotations

import dataclasses
import gc
import shutil
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lineside.devices.accelerators import Gpu
from lineside.edge.config import Device
from lineside.edge.device_choice import Machine, choose, open_engine, problem
from lineside.export.engine.engines import build_engines
from lineside.runtime.bundle import Bundle, open_bundle
from lineside.runtime.errors import DeviceOutOfMemory, DeviceUnusable
from lineside.runtime.sessions.interface import OpenSessions
from lineside.runtime.sessions.ort import OrtDecoder, OrtVision, open_cpu
from lineside.runtime.text.vocabulary import TokenizerLater
from tests.support.cuda import EmulatedMemory

RTX4090 = Gpu(0, "RTX 4090", (8, 9), 25_000_000_000, (13, 0))
NONE = Machine((), "no NVIDIA driver (libcuda.so.1 is not there)")


def machine(**changes: object) -> Machine:
    return Machine((dataclasses.replace(RTX4090, **changes),))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def with_engines(random_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle with engines for the GPU of `RTX4090`."""
    path = tmp_path_factory.mktemp("sessions") / "bundle"
    shutil.copytree(random_bundle, path)
    build_engines(path, "sm89", cache_lengths=[64])
    return open_bundle(path)


@pytest.mark.parametrize(
    ("device", "found", "said"),
    [
        ("tensorrt", NONE, "no NVIDIA driver"),
        ("cuda", Machine((), "the driver shows no NVIDIA GPU"), "shows no NVIDIA GPU"),
        ("cuda", machine(capability=(7, 0)), "RTX 4090 is sm70, too old: sm75 or later is needed"),
        ("tensorrt", machine(capability=(7, 5)), "too old: sm80"),
        ("cuda", machine(driver=(12, 4)), "it runs CUDA 12.4, and 13.0 is needed: update the driver"),
        ("tensorrt", machine(driver=(12, 9)), "it runs CUDA 12.9, and 13.0 is needed"),
        ("cuda", machine(), r"onnxruntime-gpu is not installed: pip install 'lineside\[cuda\]'"),
        ("tensorrt", machine(memory_bytes=100_000), "RTX 4090 has 0.0 GB, the model needs"),
        ("tensorrt", machine(capability=(12, 0)), "no engines for sm120: build them with `lineside engine .*sm120`"),
    ],
)  # fmt: skip
def test_what_keeps_a_session_from_working(device: Device, found: Machine, said: str, with_engines: Bundle) -> None:
    with pytest.raises(DeviceUnusable, match=said):
        choose(with_engines, device, _never, tokens=64, machine=found)


def _never(_sessions: OpenSessions) -> None:
    raise AssertionError("was started although it cannot work")


def test_every_engine_counts_where_memory_is_too_small(with_engines: Bundle) -> None:
    """Each has weights of its own, and all of them are loaded."""
    tokens = 64
    files = (with_engines.path / "engines").glob("*/*.engine")
    needed = sum(file.stat().st_size for file in files) + tokens * with_engines.manifest.kv.bytes_of("float16")
    assert problem("tensorrt", machine(memory_bytes=needed), with_engines, tokens) == ""
    said = problem("tensorrt", machine(memory_bytes=needed - 1), with_engines, tokens)
    assert "lower `model.capacity`, or build engines for fewer or shorter caches" in said


def test_nothing_speaks_against_engines_for_this_gpu(with_engines: Bundle) -> None:
    assert problem("tensorrt", machine(), with_engines, 64) == ""


def test_a_machine_without_a_gpu_runs_on_the_cpu_and_lacks_nothing(random_bundle: Path) -> None:
    choice, _ = choose(open_bundle(random_bundle), "auto", lambda sessions: sessions, machine=NONE)
    assert (choice.device, choice.reason, choice.degraded) == ("cpu", NONE.missing, ())


def test_auto_falls_back_where_the_gpu_fails_and_says_so(with_engines: Bundle) -> None:
    """TensorRT and CUDA's own libraries are really asked: here they find no GPU behind the driver's claim."""
    choice, sessions = choose(
        with_engines, "auto", lambda sessions: sessions(with_engines), tokens=64, machine=machine()
    )
    assert choice.device == "cpu"
    assert sessions[1].cache_lengths == ()
    (said,) = choice.degraded
    assert "runs on the CPU, RTX 4090 is not used: not tensorrt: CUDA gives cudaError" in said
    assert "not cuda: onnxruntime-gpu is not installed" in said


def test_a_model_that_does_not_fit_falls_back(with_engines: Bundle) -> None:
    tried: list[OpenSessions] = []

    def start(sessions: OpenSessions) -> int:
        tried.append(sessions)
        if len(tried) == 1:
            raise DeviceOutOfMemory("the GPU's memory is full")
        return len(tried)

    choice, started = choose(with_engines, "auto", start, machine=machine())
    assert (choice.device, started) == ("cpu", 2)
    assert "not tensorrt: the GPU's memory is full" in choice.degraded[0]


def test_a_device_that_was_named_is_not_replaced(random_bundle: Path) -> None:
    with pytest.raises(DeviceUnusable, match=r"^cuda: no NVIDIA driver"):
        open_engine(random_bundle, device="cuda")
    opened = open_engine(random_bundle, device="cpu")
    assert (opened.choice.device, opened.choice.degraded) == ("cpu", ())


class Shifted:
    """A decoder that computes every logit of the next token: it agrees with itself in all that it does."""

    picker = None

    def __init__(self, decoder: OrtDecoder) -> None:
        self._decoder = decoder

    def __getattr__(self, name: str) -> Any:
        return getattr(self._decoder, name)

    def prefill(self, *arguments: Any, **named: Any) -> Any:
        return np.roll(self._decoder.prefill(*arguments, **named), 1, axis=-1)

    def decode(self, *arguments: Any) -> Any:
        return np.roll(self._decoder.decode(*arguments), 1, axis=-1)


def on_a_gpu(bundle: Bundle, tokens: int) -> tuple[OrtVision, OrtDecoder]:
    """What `open_cuda` opens, on the CPU's kernels."""
    assert bundle.manifest.image is not None
    memory, lengths = EmulatedMemory(), (tokens,)
    options: dict[str, Any] = {"graph": "decoder.float16.onnx", "kv_dtype": "float16", "cache_lengths": lengths}
    vision = OrtVision(bundle, bundle.manifest.image, 1, graph="vision.float16.onnx", memory=memory)
    return vision, OrtDecoder(bundle, 1, memory=memory, **options)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("nothing", ""),
        ("the numbers", "not cuda: the device does not reproduce the bundle's self-test: prefill_logits is off by"),
        ("the bindings", "not cuda: AttributeError: module has no attribute 'cudaSetDevice'"),
        ("the cache", "not cuda: caches of 40 tokens are too short for the self-test, which takes 58"),
    ],
)
def test_a_gpu_is_compared_with_known_numbers(
    random_bundle: Path, monkeypatch: pytest.MonkeyPatch, wrong: str, said: str
) -> None:
    def opened(_device: Device, bundle: Bundle, _gpu: Gpu, tokens: int) -> Any:
        if wrong == "the bindings":
            raise AttributeError("module has no attribute 'cudaSetDevice'")
        vision, decoder = on_a_gpu(bundle, 40 if wrong == "the cache" else tokens)
        return vision, Shifted(decoder) if wrong == "the numbers" else decoder

    monkeypatch.setattr("lineside.edge.device_choice._open_on_gpu", opened)
    monkeypatch.setattr("lineside.edge.device_choice.installed", lambda packages: packages[0])
    bundle = open_bundle(random_bundle)
    choice, _ = choose(bundle, "auto", lambda sessions: sessions(bundle), tokens=64, machine=machine())
    assert choice.device == ("cpu" if said else "cuda")
    assert said in " ".join(choice.degraded)
    assert bool(said) == bool(choice.degraded)


def test_the_tokenizer_is_made_while_the_sessions_load(random_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has begun when they are opened."""
    order: list[str] = []

    class Recorded(TokenizerLater):
        def begin(self) -> None:
            order.append("tokenizer")
            super().begin()

    def opened(bundle: Bundle, threads: int) -> Any:
        order.append("sessions")
        return open_cpu(bundle, threads)

    monkeypatch.setattr("lineside.edge.device_choice.TokenizerLater", Recorded)
    monkeypatch.setattr("lineside.edge.device_choice.open_cpu", opened)
    assert open_engine(random_bundle, device="cpu").engine.tokenizer.vocab_size
    assert order[:2] == ["tokenizer", "sessions"]


def test_refused_sessions_are_gone_before_the_next_are_opened(
    with_engines: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where something of them refers to itself, and the collector is not at work."""
    held: list[weakref.ref[Any]] = []

    class Held:
        def __init__(self) -> None:
            self.itself = self
            held.append(weakref.ref(self))

    def opened(*_: object) -> Any:
        assert all(ref() is None for ref in held)
        session = Held()
        raise DeviceUnusable(f"does not work ({len(held)}, {type(session)})")

    monkeypatch.setattr("lineside.edge.device_choice._open_on_gpu", opened)
    monkeypatch.setattr("lineside.edge.device_choice.installed", lambda packages: packages[0])
    gc.disable()
    try:
        choose(with_engines, "auto", lambda sessions: sessions(with_engines), tokens=64, machine=machine())
    finally:
        gc.enable()
    assert len(held) == 2
    assert all(ref() is None for ref in held)
