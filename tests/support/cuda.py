"""A CUDA runtime without a GPU: its device memory is the host's, but apart from everything that a session holds.

What a session does not push never arrives, and what it does not pull is never seen. What is launched while a graph is
recorded runs when the graph is launched, and not before; nothing may be allocated, freed or waited for meanwhile.
"""

from __future__ import annotations

import ctypes
import enum
from collections.abc import Callable
from types import SimpleNamespace

from lineside.runtime.sessions.cuda_memory import CudaMemory

Graph = list[Callable[[], None]]


class Status(enum.IntEnum):
    cudaSuccess = 0
    cudaErrorMemoryAllocation = 2


class EmulatedCuda:
    """The functions of `cuda.bindings.runtime` that Lineside calls.

    `capacity_bytes` is what can be allocated; `pulled_bytes` were copied to the host.
    """

    cudaStreamNonBlocking = 1
    cudaStreamCaptureMode = SimpleNamespace(cudaStreamCaptureModeThreadLocal=1)
    cudaMemcpyKind = SimpleNamespace(cudaMemcpyHostToDevice=1, cudaMemcpyDeviceToHost=2, cudaMemcpyDeviceToDevice=3)

    def __init__(self, capacity_bytes: int = 1 << 40) -> None:
        self.capacity_bytes, self.pulled_bytes = capacity_bytes, 0
        self.graphs_launched = 0
        self._recorded: Graph | None = None
        self._graphs: list[Graph] = []
        self._blocks: dict[int, ctypes.Array[ctypes.c_char]] = {}
        self._pinned: dict[int, ctypes.Array[ctypes.c_char]] = {}

    @property
    def allocated_bytes(self) -> int:
        return sum(map(len, self._blocks.values()))

    def launch(self, kernel: Callable[[], None]) -> None:
        """As a library does that computes on the stream."""
        if self._recorded is None:
            kernel()
        else:
            self._recorded.append(kernel)

    def cudaStreamBeginCapture(self, _stream: int, _mode: int) -> tuple[Status]:
        assert self._recorded is None
        self._recorded = []
        return (Status.cudaSuccess,)

    def cudaStreamEndCapture(self, _stream: int) -> tuple[Status, Graph]:
        assert self._recorded is not None
        graph, self._recorded = self._recorded, None
        return Status.cudaSuccess, graph

    def cudaGraphInstantiate(self, graph: Graph, _flags: int) -> tuple[Status, Graph]:
        self._graphs.append(list(graph))
        return Status.cudaSuccess, self._graphs[-1]

    def cudaGraphDestroy(self, graph: Graph) -> tuple[Status]:
        graph.clear()
        return (Status.cudaSuccess,)

    def cudaGraphExecDestroy(self, graph: Graph) -> tuple[Status]:
        graph.clear()
        return (Status.cudaSuccess,)

    def cudaGraphLaunch(self, graph: Graph, _stream: int) -> tuple[Status]:
        assert graph, "destroyed, or nothing was recorded"
        self.graphs_launched += 1
        for kernel in graph:
            kernel()
        return (Status.cudaSuccess,)

    def cudaSetDevice(self, _index: int) -> tuple[Status]:
        return (Status.cudaSuccess,)

    def cudaStreamCreateWithFlags(self, _flags: int) -> tuple[Status, int]:
        return Status.cudaSuccess, 7

    def cudaStreamSynchronize(self, stream: int) -> tuple[Status]:
        assert stream == 7
        assert self._recorded is None
        return (Status.cudaSuccess,)

    def cudaMalloc(self, count: int) -> tuple[Status, int | None]:
        assert self._recorded is None
        if self.allocated_bytes + count > self.capacity_bytes:
            return Status.cudaErrorMemoryAllocation, None
        return Status.cudaSuccess, _new(self._blocks, count)

    def cudaFree(self, pointer: int) -> tuple[Status]:
        assert self._recorded is None
        del self._blocks[pointer]
        return (Status.cudaSuccess,)

    def cudaHostAlloc(self, count: int, _flags: int) -> tuple[Status, int]:
        return Status.cudaSuccess, _new(self._pinned, count)

    def cudaFreeHost(self, pointer: int) -> tuple[Status]:
        del self._pinned[pointer]
        return (Status.cudaSuccess,)

    def cudaMemsetAsync(self, pointer: int, value: int, count: int, _stream: int) -> tuple[Status]:
        ctypes.memset(pointer, value, count)
        return (Status.cudaSuccess,)

    def cudaMemcpyAsync(self, to: int, source: int, count: int, kind: int, _stream: int) -> tuple[Status]:
        ctypes.memmove(to, source, count)
        self.pulled_bytes += count * (kind == self.cudaMemcpyKind.cudaMemcpyDeviceToHost)
        return (Status.cudaSuccess,)

    def cudaMemcpy2DAsync(
        self, to: int, to_pitch: int, source: int, pitch: int, width: int, height: int, _kind: int, _stream: int
    ) -> tuple[Status]:
        for row in range(height):
            ctypes.memmove(to + row * to_pitch, source + row * pitch, width)
        return (Status.cudaSuccess,)

    def cudaMemGetInfo(self) -> tuple[Status, int, int]:
        return Status.cudaSuccess, self.capacity_bytes - self.allocated_bytes, self.capacity_bytes


class EmulatedMemory(CudaMemory):
    """`CudaMemory` for ONNX Runtime's CPU kernels to compute in."""

    device = "cpu"

    def __init__(self, runtime: EmulatedCuda | None = None) -> None:
        super().__init__(runtime or EmulatedCuda())


def _new(blocks: dict[int, ctypes.Array[ctypes.c_char]], count: int) -> int:
    block = ctypes.create_string_buffer(b"\x55" * count, count)
    pointer = ctypes.addressof(block)
    blocks[pointer] = block
    return pointer
