"""A GPU's memory, and the stream on which everything that touches it is ordered. Imported by CUDA sessions only."""

from __future__ import annotations

import ctypes
import threading
import weakref
from collections import deque
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import numpy.typing as npt

from lineside.runtime.errors import DeviceFailed, DeviceOutOfMemory, DeviceUnusable
from lineside.runtime.sessions.device_memory import Buffer, size_bytes

try:
    from cuda.bindings import runtime as cuda_runtime
except ImportError as missing:
    raise DeviceUnusable(f"no cuda-bindings ({missing}): pip install 'lineside[cuda]'") from missing


_UNUSED: weakref.WeakKeyDictionary[Any, deque[tuple[str, Any]]] = weakref.WeakKeyDictionary()
"""What is to be freed, for each CUDA runtime: also what a `CudaMemory` leaves behind that is itself gone."""


class CudaMemory:
    """Memory of the first GPU that the process may use (`CUDA_VISIBLE_DEVICES` picks another).

    What is no longer used is freed at the next allocation: a finalizer may run in any thread at any time, also while a
    graph is recorded, when CUDA frees nothing.

    Attributes:
        stream: handle of the stream for copies and, with TensorRT, for engines.

    Raises DeviceUnusable where there is no GPU or driver.
    """

    device = "cuda"

    def __init__(self, runtime: Any = cuda_runtime) -> None:
        self.runtime = runtime
        self.lock: AbstractContextManager[object] = threading.RLock()
        self._unused = _UNUSED.setdefault(runtime, deque())
        try:
            self._call(runtime.cudaSetDevice, 0)
            self.stream = self._call(runtime.cudaStreamCreateWithFlags, runtime.cudaStreamNonBlocking)
        except DeviceFailed as error:
            raise DeviceUnusable(f"{error}: is the NVIDIA driver loaded and new enough?") from error
        self.free_unused()
        kinds = runtime.cudaMemcpyKind
        self._in, self._out = kinds.cudaMemcpyHostToDevice, kinds.cudaMemcpyDeviceToHost
        self._within = kinds.cudaMemcpyDeviceToDevice

    def allocate(self, shape: Sequence[int], dtype: npt.DTypeLike, *, twin: bool = False) -> Buffer:
        with self.lock:
            self.free_unused()
            count = max(size_bytes(shape, dtype), 1)
            pointer = int(self._call(self.runtime.cudaMalloc, count))
            owner = self.owner("cudaFree", pointer)
            self._call(self.runtime.cudaMemsetAsync, pointer, 0, count, self.stream)
            self.synchronize()
            return Buffer(pointer, tuple(shape), np.dtype(dtype), self._pinned(shape, dtype) if twin else None, owner)

    def owner(self, free: str, handle: Any) -> object:
        """When it is gone, `handle` goes by the CUDA function `free`."""
        owner = _Owner()
        weakref.finalize(owner, self._unused.append, (free, handle)).atexit = False
        return owner

    def free_unused(self) -> None:
        with self.lock:
            while self._unused:
                self.call(*self._unused.popleft())

    def push(self, buffer: Buffer, start: int, count: int) -> None:
        size = buffer.dtype.itemsize
        there, here = buffer.pointer + start * size, buffer.array.ctypes.data + start * size
        self._call(self.runtime.cudaMemcpyAsync, there, here, count * size, self._in, self.stream)

    def pull(self, buffer: Buffer, start: int, count: int) -> None:
        size = buffer.dtype.itemsize
        there, here = buffer.pointer + start * size, buffer.array.ctypes.data + start * size
        self._call(self.runtime.cudaMemcpyAsync, here, there, count * size, self._out, self.stream)

    def copy_prefix(self, source: Buffer, target: Buffer, length: int) -> None:
        row = source.shape[-1] * source.dtype.itemsize  # bytes of a token's head
        rows = size_bytes(source.shape[:-2], np.int8)
        self._call(
            self.runtime.cudaMemcpy2DAsync,
            target.pointer,
            target.shape[-2] * row,
            source.pointer,
            source.shape[-2] * row,
            length * row,
            rows,
            self._within,
            self.stream,
        )

    def clear(self, buffer: Buffer) -> None:
        count = size_bytes(buffer.shape, buffer.dtype)
        self._call(self.runtime.cudaMemsetAsync, buffer.pointer, 0, count, self.stream)

    def synchronize(self) -> None:
        self._call(self.runtime.cudaStreamSynchronize, self.stream)

    def free_bytes(self) -> tuple[int, int]:
        """Memory that is free, and in all."""
        free, total = self._call(self.runtime.cudaMemGetInfo)
        return int(free), int(total)

    def _pinned(self, shape: Sequence[int], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        """Host memory that the GPU reads and writes by itself."""
        count = max(size_bytes(shape, dtype), 1)
        pointer = int(self._call(self.runtime.cudaHostAlloc, count, 0))
        raw = (ctypes.c_char * count).from_address(pointer)
        weakref.finalize(raw, self._unused.append, ("cudaFreeHost", pointer)).atexit = False
        flat: npt.NDArray[Any] = np.frombuffer(memoryview(raw), np.dtype(dtype), count=size_bytes(shape, np.int8))
        flat[...] = 0
        return flat.reshape(shape)

    def _call(self, function: Any, *arguments: Any) -> Any:
        """Its result, or a tuple of several. Raises DeviceFailed with CUDA's own name of the error."""
        status, *result = function(*arguments)
        if int(status) != 0:
            name = getattr(status, "name", str(status))
            message = f"CUDA gives {name} in {function.__name__}"
            if name == "cudaErrorMemoryAllocation":
                raise DeviceOutOfMemory(f"the GPU's memory is full ({message})")
            raise DeviceFailed(message)
        return result[0] if len(result) == 1 else tuple(result)

    def call(self, name: str, *arguments: Any) -> Any:
        """Any other function of the CUDA runtime, checked in the same way."""
        return self._call(getattr(self.runtime, name), *arguments)


class _Owner:
    """Lives as long as something that lies in the GPU's memory is used."""
