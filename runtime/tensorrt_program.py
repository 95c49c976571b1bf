"""One TensorRT engine, ready to run on buffers. Imported by TensorRT sessions only."""

from __future__ import annotations

import logging
import mmap
from collections.abc import Callable
from pathlib import Path
from typing import Any

from runtime.cuda_memory import CudaMemory
from runtime.errors import DeviceFailed, DeviceOutOfMemory, EnginesUnusable
from runtime.tensorrt_session import Tensors

log = logging.getLogger("lineside.tensorrt")


class TensorRTProgram:
    """A loaded engine, with an execution context for each of its profiles.

    Raises EnginesUnusable where TensorRT refuses the file, with its own words.
    """

    def __init__(self, module: Any, path: Path, memory: CudaMemory) -> None:
        self._memory, self._path = memory, path
        self._logger = _make_logger(module)
        runtime = module.Runtime(self._logger)
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as plan:
            engine = runtime.deserialize_cuda_engine(plan)
        if engine is None:
            reasons = "; ".join(self._logger.errors)
            if "memory" in reasons.lower():
                raise DeviceOutOfMemory(f"{path} does not fit into the GPU's memory: {reasons}")
            raise EnginesUnusable(f"{path} cannot be loaded ({reasons}): build it anew with `lineside engine`")
        self._runtime, self._engine = runtime, engine  # the engine needs its runtime
        self._outputs = {
            name
            for name in map(engine.get_tensor_name, range(engine.num_io_tensors))
            if engine.get_tensor_mode(name) == module.TensorIOMode.OUTPUT
        }
        self._contexts = [self._context(profile) for profile in range(engine.num_optimization_profiles)]

    def bind(self, profile: int, tensors: Tensors, *, capture: bool = False) -> Callable[[], None]:
        """What runs the engine on these buffers, in the order of the memory's stream.

        With `capture` the second run is recorded as a CUDA graph, which later runs replay: one call instead of one for
        each kernel.
        """
        context, call = self._contexts[profile], self._memory.call

        def launch() -> None:
            for name, (buffer, shape) in tensors.items():
                if name not in self._outputs:
                    context.set_input_shape(name, shape)
                context.set_tensor_address(name, buffer.pointer)
            if not context.execute_async_v3(int(self._memory.stream)):
                reasons = "; ".join(self._logger.errors)
                raise DeviceFailed(f"{self._path.name} failed: {reasons}")

        if not capture:
            return launch
        return _Captured(launch, self._memory, call)

    def _context(self, profile: int) -> Any:
        context = self._engine.create_execution_context()
        if context is None:
            raise DeviceOutOfMemory(f"no memory for the activations of {self._path.name}")
        context.set_optimization_profile_async(profile, int(self._memory.stream))
        self._memory.synchronize()
        return context


class _Captured:
    """The first run is plain, since TensorRT may allocate in it; the second is recorded."""

    def __init__(self, launch: Callable[[], None], memory: CudaMemory, call: Callable[..., Any]) -> None:
        self._launch, self._memory, self._call = launch, memory, call
        self._ran = False
        self._graph: Any = None

    def __call__(self) -> None:
        if self._graph is None and self._ran:
            self._graph = self._record()
        if self._graph is not None:
            self._call("cudaGraphLaunch", self._graph, self._memory.stream)
            return
        self._launch()
        self._ran = True

    def _record(self) -> Any:
        mode = self._memory.runtime.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self._call("cudaStreamBeginCapture", self._memory.stream, mode)
        try:
            self._launch()
        finally:
            graph = self._call("cudaStreamEndCapture", self._memory.stream)
        return self._call("cudaGraphInstantiate", graph, 0)


def _make_logger(module: Any) -> Any:
    class Logger(module.ILogger):  # type: ignore[misc]
        """Keeps the errors for the message of an exception."""

        def __init__(self) -> None:
            module.ILogger.__init__(self)
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity in (module.ILogger.ERROR, module.ILogger.INTERNAL_ERROR):
                self.errors = [*self.errors[-3:], message]
            log.debug("%s", message)

    return Logger()
