"""Which session is chosen, and what is said of the others; no GPU is needed to refuse one."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest

from devices.accelerators import Gpu
from edge.sessions import Device, Machine, choose, open_engine, problem
from export.engine.engines import build_engines
from runtime.bundle import Bundle, open_bundle
from runtime.errors import DeviceOutOfMemory, DeviceUnusable
from runtime.session import OpenSessions

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
