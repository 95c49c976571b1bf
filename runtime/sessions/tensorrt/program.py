"""One TensorRT engine, ready to run on buffers. Imported by TensorRT sessions only."""

from __future__ import annotations

import logging
import mmap
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lineside.runtime.errors import DeviceFailed, DeviceOutOfMemory, DeviceUnusable, EnginesUnusable
from lineside.runtime.sessions.cuda_memory import CudaMemory
from lineside.runtime.sessions.device_memory import Tensors
from lineside.runtime.sessions.tensorrt.kernels import KernelCache
from lineside.runtime.sessions.tensorrt.log import shared_logger

log = logging.getLogger("lineside.tensorrt")


class TensorRTProgram:
    """A loaded engine, with an execution context for each of its profiles, and one for what is recorded: a recording is
    of no use any more once its context has run with other shapes (NVIDIA's guide on TensorRT and CUDA graphs).

    Raises EnginesUnusable where TensorRT refuses the file, with its own words.
    """

    def __init__(self, module: Any, path: Path, memory: CudaMemory) -> None:
        self.memory, self._path, self._module = memory, path, module
        self._logger = shared_logger(module)
        self._logger.errors.clear()
        try:
            runtime = module.Runtime(self._logger)
        except TypeError as error:  # what the bindings raise where there is no GPU
            raise DeviceUnusable(f"TensorRT does not start ({'; '.join(self._logger.errors) or error})") from error
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as plan:
            engine = runtime.deserialize_cuda_engine(plan)
        if engine is None:
            reasons = "; ".join(self._logger.errors)
            if _out_of_memory(reasons):
                raise DeviceOutOfMemory(f"{path} does not fit into the GPU's memory ({reasons})")
            raise EnginesUnusable(f"{path} cannot be loaded ({reasons}): build it anew with `lineside engine`")
        self._runtime, self._engine = runtime, engine  # the engine needs its runtime
        self._outputs = {
            name
            for name in map(engine.get_tensor_name, range(engine.num_io_tensors))
            if engine.get_tensor_mode(name) == module.TensorIOMode.OUTPUT
        }
        self._kernels = KernelCache(path.with_suffix(".kernels"))
        self._contexts = [self._context(profile) for profile in range(engine.num_optimization_profiles)]
        self._recorded: dict[int, Any] = {}
        self.keep_kernels()

    def keep_kernels(self) -> None:
        self._kernels.keep()

    def bind(self, profile: int, tensors: Tensors, *, capture: bool = False) -> Callable[[], None]:
        """What runs the engine on these buffers, in the order of the memory's stream.

        With `capture` the run is recorded as a CUDA graph when it is first needed, and replayed from then on: one call
        instead of one for each kernel. Everything that is recorded has the same shapes.
        """
        if capture and profile not in self._recorded:
            self._recorded[profile] = self._context(profile, recorded=True)
        context = self._recorded[profile] if capture else self._contexts[profile]

        def launch() -> None:
            self._launch(context, tensors)

        return _Captured(self, launch) if capture else launch

    def _launch(self, context: Any, tensors: Tensors) -> None:
        self._logger.errors.clear()
        done = all(context.set_tensor_address(name, buffer.pointer) for name, (buffer, _) in tensors.items())
        inputs = ((name, shape) for name, (_, shape) in tensors.items() if name not in self._outputs)
        done = done and all(context.set_input_shape(name, shape) for name, shape in inputs)
        if not (done and context.execute_async_v3(int(self.memory.stream))):
            reasons = "; ".join(self._logger.errors)
            if _out_of_memory(reasons):
                raise DeviceOutOfMemory(f"no memory to run {self._path.name} ({reasons})")
            raise DeviceFailed(f"{self._path.name} failed: {reasons}")

    def _context(self, profile: int, *, recorded: bool = False) -> Any:
        """With memory for this profile's activations only.

        TensorRT for RTX compiles kernels for each shape in the background; for what is recorded at once, since a
        recording keeps those that it was made with.
        """
        module, engine = self._module, self._engine
        strategy = module.ExecutionContextAllocationStrategy.ON_PROFILE_CHANGE
        if hasattr(module, "IRuntimeCache"):
            config = engine.create_runtime_config()
            config.set_execution_context_allocation_strategy(strategy)
            if recorded:
                eager = module.DynamicShapesKernelSpecializationStrategy.EAGER
                config.dynamic_shapes_kernel_specialization_strategy = eager
            self._kernels.use(config)
            context = engine.create_execution_context(config)
        else:
            context = engine.create_execution_context(strategy)
        if context is None or not context.set_optimization_profile_async(profile, int(self.memory.stream)):
            raise DeviceOutOfMemory(f"no memory for the activations of {self._path.name}")
        self.memory.synchronize()
        return context


def _out_of_memory(reasons: str) -> bool:
    """TensorRT says so in words only."""
    return "outofmemory" in reasons.lower().replace(" ", "")


class _Captured:
    """The first run is plain. Its kernels for these shapes are there then, and it is recorded for those to come."""

    def __init__(self, program: TensorRTProgram, launch: Callable[[], None]) -> None:
        self._memory, self._program, self._launch = program.memory, program, launch
        self._graph: Any = None
        self._owner: object = None
        self._plain = False

    def __call__(self) -> None:
        if self._graph is not None:
            self._memory.call("cudaGraphLaunch", self._graph, self._memory.stream)
            return
        self._launch()
        if not self._plain:
            self._memory.synchronize()
            self._record()

    def _record(self) -> None:
        """Where it cannot be recorded every run stays plain."""
        memory = self._memory
        mode = memory.runtime.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        memory.call("cudaStreamBeginCapture", memory.stream, mode)
        problem: DeviceFailed | None = None
        try:
            self._launch()
        except DeviceFailed as error:
            problem = error
        try:
            graph = memory.call("cudaStreamEndCapture", memory.stream)
            if problem is None:
                self._graph = memory.call("cudaGraphInstantiate", graph, 0)
                self._owner = memory.owner("cudaGraphExecDestroy", self._graph)
            memory.call("cudaGraphDestroy", graph)
        except DeviceFailed as error:
            problem = problem or error
        self._program.keep_kernels()
        if problem is not None:
            self._graph, self._plain = None, True
            log.warning("decoding without CUDA graphs: %s", problem)
