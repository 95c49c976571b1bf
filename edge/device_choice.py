"""Which session runs the model: TensorRT, CUDA or the CPU. Says what was chosen and why, and why not another.

What can be told without loading a library is told without; the rest shows when a session is opened.
"""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TypeVar

from lineside.devices.accelerators import Gpu, gpus
from lineside.devices.errors import AcceleratorError, DriverMissing
from lineside.edge.config import Device
from lineside.runtime.bundle import Bundle, open_bundle
from lineside.runtime.engine.engine import DEFAULT_CAPACITY, Engine, Limits
from lineside.runtime.engine.memory_plan import least_device_bytes
from lineside.runtime.errors import DeviceError, DeviceUnusable, EngineError, EnginesUnusable
from lineside.runtime.sessions.interface import Decoder, OpenSessions, Vision
from lineside.runtime.sessions.ort import open_cpu
from lineside.runtime.sessions.selftest import check_sessions
from lineside.runtime.sessions.tensorrt.engine_files import engine_bytes
from lineside.runtime.sessions.try_out import try_out
from lineside.runtime.text.vocabulary import TokenizerLater

log = logging.getLogger("lineside.sessions")

Started = TypeVar("Started")
SESSIONS: tuple[Device, ...] = ("tensorrt", "cuda", "cpu")
"""In the order in which `auto` tries them."""
CUDA_NEEDED = (13, 0)
"""By onnxruntime-gpu 1.31 and TensorRT for RTX 1.7."""
CAPABILITY_NEEDED = {"tensorrt": (8, 0), "cuda": (7, 5)}
"""TensorRT has no INT4 weights for older GPUs, CUDA 13 no code."""
PACKAGES = {"tensorrt": ("tensorrt", "tensorrt-rtx"), "cuda": ("onnxruntime-gpu",), "cpu": ("onnxruntime",)}
"""Any of which a session needs; the CPU's works with that for CUDA, too."""
BINDINGS = "cuda-bindings"
GB = 1e9


@dataclass(frozen=True)
class Machine:
    """The GPUs that the driver shows; `missing` says why where there is none, `broken` that the driver is to blame."""

    gpus: tuple[Gpu, ...]
    missing: str = ""
    broken: bool = False


@dataclass(frozen=True)
class Choice:
    """What the model runs on and why; `degraded` says what is not as the user would expect."""

    device: Device
    reason: str
    degraded: tuple[str, ...] = ()


@dataclass(frozen=True)
class Opened:
    engine: Engine
    choice: Choice


def look() -> Machine:
    """This machine."""
    try:
        found = tuple(gpus())
    except DriverMissing as error:
        return Machine((), str(error))
    except AcceleratorError as error:
        return Machine((), str(error), broken=True)
    return Machine(found, "" if found else "the driver shows no NVIDIA GPU")


def problem(device: Device, machine: Machine, bundle: Bundle | None = None, tokens: int = 0) -> str:
    """Why `device` would not run `bundle` with a cache of `tokens`; nothing where nothing speaks against it."""
    packages = PACKAGES[device]
    if device == "cpu":
        return "" if installed(packages) or installed(PACKAGES["cuda"]) else _missing("onnxruntime", "cpu")
    if not machine.gpus:
        return machine.missing
    gpu, needed = machine.gpus[0], CAPABILITY_NEEDED[device]
    if gpu.capability < needed:
        return f"{gpu.name} is {gpu.target}, too old: sm{needed[0]}{needed[1]} or later is needed"
    if gpu.driver < CUDA_NEEDED:
        runs, wanted = (".".join(map(str, pair)) for pair in (gpu.driver, CUDA_NEEDED))
        return f"the NVIDIA driver is too old: it runs CUDA {runs}, and {wanted} is needed: update the driver"
    if not installed(packages):
        return _missing(" or ".join(packages), device)
    if not installed((BINDINGS,)):
        return _missing(BINDINGS, device)
    return _bundle_problem(device, gpu, bundle, tokens) if bundle is not None else ""


def choose(
    bundle: Bundle,
    device: Device,
    start: Callable[[OpenSessions], Started],
    *,
    threads: int = 0,
    tokens: int = 0,
    machine: Machine | None = None,
    among: Sequence[Device] = SESSIONS,
) -> tuple[Choice, Started]:
    """Call `start` with what opens the sessions on `device`; `auto` takes the first of `among` with which it works.

    Args:
        tokens: of the cache that must fit.
        machine: this one, where left out.

    Raises:
        BundleError: the bundle itself cannot be used.
        DeviceError: the device that was named cannot be used.
    """
    machine = machine or look()
    refused: dict[Device, str] = {}
    for candidate in among if device == "auto" else (device,):
        reason = problem(candidate, machine, bundle, tokens)
        if not reason:
            try:
                started = start(_opener(candidate, machine, threads, tokens or DEFAULT_CAPACITY))
            except (DeviceError, EnginesUnusable) as error:
                reason = str(error)
            else:
                return _choice(candidate, machine, refused, named=device != "auto"), started
            gc.collect()  # what a GPU holds of the refused sessions, the next ones may need
        refused[candidate] = reason
    raise DeviceUnusable("; ".join(f"{name}: {reason}" for name, reason in refused.items()))


def open_engine(
    path: Path,
    *,
    device: Device = "auto",
    threads: int = 0,
    limits: Limits | None = None,
    beside: Engine | None = None,
    tested: bool = False,
) -> Opened:
    """An engine for the bundle at `path`, as `choose` chooses. Raises BundleError, DeviceError.

    Args:
        beside: another engine of this process, with which it shares the device (`Engine`).
        tested: after its self-test, on every device; raises SelfTestFailed.
    """
    limits = limits or Limits()

    def start(sessions: OpenSessions) -> Engine:
        sessions = _tested(sessions) if tested else sessions
        engine = Engine.open(path, limits=limits, sessions=sessions, beside=beside, tokenizer=tokenizer)
        _ = engine.tokenizer  # a file that is none is told now, before the engine takes another's place
        return engine

    bundle = open_bundle(path)
    tokenizer = TokenizerLater.of(bundle)
    tokenizer.begin()  # most of it is Python, and the sessions are none
    choice, engine = choose(
        bundle,
        device,
        start,
        threads=threads,
        tokens=limits.capacity,
    )
    return Opened(engine, choice)


def _tested(sessions: OpenSessions) -> OpenSessions:
    def opened(bundle: Bundle) -> tuple[Vision | None, Decoder]:
        vision, decoder = sessions(bundle)
        check_sessions(bundle, vision, decoder)
        return vision, decoder

    return opened


def installed(packages: tuple[str, ...]) -> str:
    """The first of them that is there, with its version."""
    for package in packages:
        try:
            return f"{package} {version(package)}"
        except PackageNotFoundError:
            continue
    return ""


def _missing(package: str, extra: str) -> str:
    return f"{package} is not installed: pip install 'lineside[{extra}]'"


def _bundle_problem(device: Device, gpu: Gpu, bundle: Bundle, tokens: int) -> str:
    manifest = bundle.manifest
    if manifest.target == "cpu":
        return "the bundle was exported for a CPU alone (`lineside export --target cpu`)"
    tokens = min(tokens, manifest.context_length)
    needed, advice = least_device_bytes(manifest, tokens), "lower `model.capacity`"
    if device == "tensorrt":
        built = engine_bytes(bundle, gpu.target)
        if not built:
            return f"no engines for {gpu.target}: build them with `lineside engine {bundle.path} --target {gpu.target}`"
        needed = built + tokens * manifest.kv.bytes_of("float16")
        advice += ", or build engines for fewer or shorter caches (`lineside engine --cache`)"
    if needed > gpu.memory_bytes:
        has = f"{gpu.name} has {gpu.memory_bytes / GB:.1f} GB"
        return f"{has}, the model needs {needed / GB:.1f} GB with {tokens} tokens: {advice}"
    return ""


def _opener(device: Device, machine: Machine, threads: int, tokens: int) -> OpenSessions:
    """What opens the sessions: only the libraries of the one that is wanted are loaded."""

    def on_gpu(bundle: Bundle) -> tuple[Vision | None, Decoder]:
        with _refusing():
            vision, decoder = _open_on_gpu(device, bundle, machine.gpus[0], tokens)
            try_out(bundle, vision, decoder)
            check_sessions(bundle, vision, decoder)
        return vision, decoder

    def on_cpu(bundle: Bundle) -> tuple[Vision | None, Decoder]:
        return open_cpu(bundle, threads)

    return on_cpu if device == "cpu" else on_gpu


@contextmanager
def _refusing() -> Iterator[None]:
    """Whatever a GPU's libraries raise means that it cannot be used; `auto` goes on with the next session."""
    try:
        yield
    except EngineError:
        raise
    except Exception as error:  # bindings of other versions raise AttributeError, TypeError, RuntimeError ...
        raise DeviceUnusable(f"{type(error).__name__}: {error}") from error


def _open_on_gpu(device: Device, bundle: Bundle, gpu: Gpu, tokens: int) -> tuple[Vision | None, Decoder]:
    if device == "tensorrt":
        from lineside.runtime.sessions.tensorrt.session import open_tensorrt

        return open_tensorrt(bundle, gpu.target, gpu.name)
    from lineside.runtime.sessions.cuda import open_cuda

    return open_cuda(bundle, tokens)


def _choice(device: Device, machine: Machine, refused: dict[Device, str], *, named: bool) -> Choice:
    others = "; ".join(f"not {name}: {reason}" for name, reason in refused.items())
    degraded: tuple[str, ...] = ()
    if named:
        reason = "it was named"
    elif machine.gpus:
        reason = others or "the first choice"
        if device == "cpu":
            degraded = (f"runs on the CPU, {machine.gpus[0].name} is not used: {others}",)
    else:
        reason = machine.missing
        if machine.broken:
            degraded = (f"runs on the CPU: {reason}",)
    for line in degraded:
        log.warning("%s", line)
    return Choice(device, reason, degraded)
