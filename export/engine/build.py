"""One ONNX graph in, one serialized TensorRT engine out."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from lineside.export.engine.library import Library
from lineside.export.engine.timing import timing_cache
from lineside.export.errors import EngineBuildFailed
from lineside.runtime.sessions.tensorrt.log import shared_logger

Range = tuple[int, int, int]
"""Least, best and most of a dimension that may vary."""
Profile = Mapping[str, Range]
"""By the dimension's name in the graph."""
Progress = Callable[[str, int, int], None]
"""Called with the name of what is under way, steps done and steps in all."""


def build_engine(
    library: Library, graph: Path, dimensions: Mapping[str, Sequence[int | str]], profiles: Sequence[Profile],
    target: str, progress: Progress | None = None, timings: Path | None = None,
) -> memoryview:  # fmt: skip
    """Build the engine of `graph`.

    Args:
        dimensions: shape of every input, with the names of the dimensions that vary.
        profiles: what the engine is tuned for, in this order.
        timings: file of the timing cache, where the library measures kernels.

    Raises:
        EngineBuildFailed: TensorRT refuses the graph, with its own words.
        KeyboardInterrupt: the build was broken off.
    """
    trt = library.module
    logger = shared_logger(trt)
    logger.errors.clear()
    builder = trt.Builder(logger)
    network = builder.create_network(_strongly_typed(trt))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse_from_file(str(graph)):
        errors = "; ".join(str(parser.get_error(i)) for i in range(parser.num_errors))
        raise EngineBuildFailed(f"{library.name} {library.version} cannot read {graph.name}: {errors}")
    _allow_plain_attention(trt, network)
    config = builder.create_builder_config()
    for profile in profiles:
        config.add_optimization_profile(_profile(builder, network, dimensions, profile))
    if library.targets:
        config.num_compute_capabilities = 1
        config.set_compute_capability(getattr(trt.ComputeCapability, target.upper()), 0)
    if hasattr(trt.BuilderFlag, "REQUIRE_USER_ALLOCATION"):
        config.set_flag(trt.BuilderFlag.REQUIRE_USER_ALLOCATION)  # or the engine could not run in a CUDA graph
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED  # the engine can tell what it consists of
    monitor = _make_monitor(trt, progress)
    config.progress_monitor = monitor
    kept = timing_cache(config, timings) if timings is not None else nullcontext()
    with kept, _on_interrupt(monitor.stop):
        plan = builder.build_serialized_network(network, config)
    if monitor.interrupted:
        raise KeyboardInterrupt
    if plan is None:
        raise EngineBuildFailed(
            f"{library.name} {library.version} cannot build {graph.name} for {target}: {'; '.join(logger.errors)}"
        )
    return memoryview(plan)


@contextmanager
def _on_interrupt(stop: Callable[[], None]) -> Iterator[None]:
    """Ctrl-C calls `stop`: an exception must not fly through TensorRT's own code."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, lambda *_: stop())
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _allow_plain_attention(trt: Any, network: Any) -> None:
    """Where there is no fused kernel, as for very small heads, several take its place; without this the build fails."""
    begins = getattr(trt.LayerType, "ATTENTION_INPUT", None)
    for index in range(network.num_layers):
        layer = network.get_layer(index)
        if begins is not None and layer.type == begins:
            layer.__class__ = trt.IAttentionInputLayer
            layer.attention.decomposable = True


def _strongly_typed(trt: Any) -> int:
    """TensorRT 10 has a flag for what later versions and the one for RTX always do."""
    flag = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    return 0 if flag is None else 1 << int(flag)


def _profile(builder: Any, network: Any, dimensions: Mapping[str, Sequence[int | str]], ranges: Profile) -> Any:
    profile = builder.create_optimization_profile()
    for index in range(network.num_inputs):
        name = network.get_input(index).name
        named = dimensions[name]
        if any(isinstance(size, str) for size in named):
            shapes = [tuple(ranges[d][i] if isinstance(d, str) else d for d in named) for i in range(3)]
            profile.set_shape(name, *shapes)
    return profile


def _make_monitor(trt: Any, progress: Progress | None) -> Any:
    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        """Reports phases, and tells TensorRT to stop."""

        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.interrupted = False
            self._steps: dict[str, int] = {}

        def stop(self) -> None:
            self.interrupted = True

        def phase_start(self, phase_name: str, _parent_phase: str | None, num_steps: int) -> None:
            self._steps[phase_name] = num_steps

        def phase_finish(self, phase_name: str) -> None:
            self._steps.pop(phase_name, None)

        def step_complete(self, phase_name: str, step: int) -> bool:
            if progress and not self.interrupted:
                progress(phase_name, step, self._steps.get(phase_name, step))
            return not self.interrupted

    return Monitor()
