"""What Lineside calls of TensorRT, over ONNX Runtime's CPU kernels. An engine's file holds a graph's path."""

from __future__ import annotations

import enum
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import onnxruntime as ort

from tests.support.cuda import EmulatedCuda
from tests.support.standard import exact_session

Shape = tuple[int, ...]


class Context:
    """An execution context. A recorded run is of no use any more once its context has taken another shape."""

    def __init__(self, session: ort.InferenceSession, cuda: EmulatedCuda, module: FakeTensorRT) -> None:
        self._session, self._cuda, self._module = session, cuda, module
        self._inputs = {value.name: value.type for value in session.get_inputs()}
        self._outputs = {value.name: value.type for value in session.get_outputs()}
        self._addresses: dict[str, int] = {}
        self._shapes: dict[str, Shape] = {}
        self.profile = -1

    def set_optimization_profile_async(self, profile: int, _stream: int) -> bool:
        self.profile = profile
        return True

    def set_tensor_address(self, name: str, pointer: int) -> bool:
        self._addresses[name] = pointer
        return name in self._inputs or name in self._outputs

    def set_input_shape(self, name: str, shape: Shape) -> bool:
        self._shapes[name] = tuple(shape)
        return name in self._inputs

    def execute_async_v3(self, _stream: int) -> bool:
        if not self._module.works():
            return False
        addresses, shapes = dict(self._addresses), dict(self._shapes)

        def kernel() -> None:
            assert shapes == self._shapes, "a replay of a context that has run with other shapes since"
            self._run(addresses)

        self._cuda.launch(kernel)
        return True

    def _run(self, addresses: dict[str, int]) -> None:
        binding = self._session.io_binding()
        sizes = {"R": self._shapes["rows"][0]}
        for name, kind in self._inputs.items():
            binding.bind_input(name, "cpu", 0, DTYPES[kind], self._shapes[name], addresses[name])
        for value in self._session.get_outputs():
            shape = [sizes.get(size, size) for size in value.shape]
            binding.bind_output(value.name, "cpu", 0, DTYPES[value.type], shape, addresses[value.name])
        self._session.run_with_iobinding(binding)


DTYPES = {"tensor(float)": "float32", "tensor(float16)": "float16", "tensor(int64)": "int64"}


class RuntimeCache:
    """Knows its file by its beginning."""

    def __init__(self) -> None:
        self.compiled = 0

    def deserialize(self, blob: bytes) -> bool:
        self.compiled = int(blob.removeprefix(b"kernels ")) if blob.startswith(b"kernels ") else 0
        return self.compiled > 0

    def serialize(self) -> bytes:
        return b"kernels %d" % self.compiled


class RuntimeConfig:
    dynamic_shapes_kernel_specialization_strategy = "lazy"

    def __init__(self) -> None:
        self.strategy: object = None
        self.cache: RuntimeCache | None = None

    def set_execution_context_allocation_strategy(self, strategy: object) -> None:
        self.strategy = strategy

    def create_runtime_cache(self) -> RuntimeCache:
        return RuntimeCache()

    def set_runtime_cache(self, cache: RuntimeCache) -> bool:
        self.cache = cache
        return True


class Engine:
    num_optimization_profiles = 2

    def __init__(self, graph: Path, cuda: EmulatedCuda, module: FakeTensorRT) -> None:
        self._session, self._cuda, self._module = exact_session(graph), cuda, module
        self._outputs: list[str] = [value.name for value in self._session.get_outputs()]
        self._names: list[str] = [*(value.name for value in self._session.get_inputs()), *self._outputs]
        self.num_io_tensors = len(self._names)

    def get_tensor_name(self, index: int) -> str:
        return self._names[index]

    def get_tensor_mode(self, name: str) -> TensorIOMode:
        return TensorIOMode.OUTPUT if name in self._outputs else TensorIOMode.INPUT

    def create_runtime_config(self) -> RuntimeConfig:
        return RuntimeConfig()

    def create_execution_context(self, config: RuntimeConfig) -> Context:
        assert config.strategy is ExecutionContextAllocationStrategy.ON_PROFILE_CHANGE
        self._module.specialized.append(config.dynamic_shapes_kernel_specialization_strategy)
        if config.cache is not None:
            self._module.compiled += int(not config.cache.compiled)
            config.cache.compiled = max(config.cache.compiled, 1)
        return Context(self._session, self._cuda, self._module)


class TensorIOMode(enum.Enum):
    INPUT = 0
    OUTPUT = 1


class ILogger:
    ERROR, INTERNAL_ERROR = "error", "internal error"


class ExecutionContextAllocationStrategy(enum.Enum):
    ON_PROFILE_CHANGE = 0


class FakeTensorRT:
    """Stands in for the module for RTX. While there is a `complaint` nothing works, and the first logger alone is told.

    Attributes:
        specialized: how each context gets the kernels for its shapes.
        compiled: engines whose kernels were not found compiled.
    """

    TensorIOMode, ILogger, IRuntimeCache = TensorIOMode, ILogger, RuntimeCache
    DynamicShapesKernelSpecializationStrategy = SimpleNamespace(EAGER="eager")
    ExecutionContextAllocationStrategy = ExecutionContextAllocationStrategy

    def __init__(self, cuda: EmulatedCuda) -> None:
        self._cuda = cuda
        self._loggers: list[Any] = []
        self.specialized: list[str] = []
        self.compiled = 0
        self.complaint = ""

    def Runtime(self, logger: object) -> FakeTensorRT:
        self._loggers.append(logger)
        return self

    def works(self) -> bool:
        if self.complaint:
            for logger in self._loggers[:1]:
                logger.log(self.ILogger.ERROR, self.complaint)
        return not self.complaint

    def deserialize_cuda_engine(self, plan: bytes) -> Engine | None:
        return Engine(Path(bytes(plan).decode()), self._cuda, self) if self.works() else None
