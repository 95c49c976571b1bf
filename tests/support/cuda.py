"""A CUDA runtime without a GPU: its device memory is the host's, but apart from everything that a session holds.

What a session does not push never arrives, and what it does not pull is never seen. Streams and graphs do nothing.
"""

from __future__ import annotations

import ctypes
import enum
from types import SimpleNamespace

from runtime.cuda_memory import CudaMemory


class Status(enum.IntEnum):
    cudaSuccess = 0
    cudaErrorMemoryAllocation = 2


class EmulatedCuda:
    """The functions of `cuda.bindings.runtime` that Lineside calls.

    `capacity_bytes` is what can be allocated; `pulled_bytes` were copied to the host.
    """

    cudaStreamNonBlocking = 1
    cudaMemcpyKind = SimpleNamespace(cudaMemcpyHostToDevice=1, cudaMemcpyDeviceToHost=2, cudaMemcpyDeviceToDevice=3)

    def __init__(self, capacity_bytes: int = 1 << 40) -> None:
        self.capacity_bytes, self.pulled_bytes = capacity_bytes, 0
        self._blocks: dict[int, ctypes.Array[ctypes.c_char]] = {}
        self._pinned: dict[int, ctypes.Array[ctypes.c_char]] = {}

    @property
    def allocated_bytes(self) -> int:
        return sum(map(len, self._blocks.values()))

    def cudaSetDevice(self, _index: int) -> tuple[Status]:
        return (Status.cudaSuccess,)

    def cudaStreamCreateWithFlags(self, _flags: int) -> tuple[Status, int]:
        return Status.cudaSuccess, 7

    def cudaStreamSynchronize(self, stream: int) -> tuple[Status]:
        assert stream == 7
        return (Status.cudaSuccess,)

    def cudaMalloc(self, count: int) -> tuple[Status, int | None]:
        if self.allocated_bytes + count > self.capacity_bytes:
            return Status.cudaErrorMemoryAllocation, None
        return Status.cudaSuccess, _new(self._blocks, count)

    def cudaFree(self, pointer: int) -> tuple[Status]:
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
