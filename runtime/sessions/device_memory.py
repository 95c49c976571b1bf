"""Memory that sessions compute in: the host's own here, a GPU's in `runtime.sessions.cuda_memory`.

A session writes what a pass needs into a buffer's `host` array, pushes it, runs, and pulls what it wants to read. In
the host's memory both are the same bytes, and pushing and pulling cost nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Buffer:
    """A stretch of device memory.

    Attributes:
        pointer: its address on the device.
        host: the same values on the host, in the same shape; None where nobody needs them there.
        owner: what must live as long as the memory is used.
    """

    pointer: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    host: npt.NDArray[Any] | None = None
    owner: Any = field(default=None, repr=False)

    @property
    def array(self) -> npt.NDArray[Any]:
        """The values on the host."""
        assert self.host is not None, "allocated without a twin on the host"
        return self.host


Tensors = Mapping[str, tuple[Buffer, tuple[int, ...]]]
"""By the tensor's name: a buffer, and the shape of what is used of it from its start."""


class DeviceMemory(Protocol):
    """`device` is its name for ONNX Runtime. Whoever uses a GPU or its memory holds `lock`: its work is ordered on one
    stream, of which a part may be under recording.
    """

    device: str
    lock: AbstractContextManager[object]

    def allocate(self, shape: Sequence[int], dtype: npt.DTypeLike, *, twin: bool = False) -> Buffer:
        """Zeros; with a twin on the host where asked for. Raises DeviceOutOfMemory."""

    def push(self, buffer: Buffer, start: int, count: int) -> None:
        """Send elements of the flattened host array to the device; done when `synchronize` returns."""

    def pull(self, buffer: Buffer, start: int, count: int) -> None:
        """Fetch elements into the flattened host array; done when `synchronize` returns."""

    def copy_prefix(self, source: Buffer, target: Buffer, length: int) -> None:
        """Copy `[..., :length, :]` from one buffer `(1, heads, tokens, head_dim)` to another; as `push`."""

    def clear(self, buffer: Buffer) -> None:
        """Zeros again; as `push`."""

    def synchronize(self) -> None: ...


class HostMemory:
    """Arrays of numpy's. Untouched pages take no memory."""

    device = "cpu"
    lock: AbstractContextManager[object] = nullcontext()

    def allocate(self, shape: Sequence[int], dtype: npt.DTypeLike, *, twin: bool = False) -> Buffer:  # noqa: ARG002
        array = np.zeros(shape, dtype)
        return Buffer(array.ctypes.data, tuple(shape), array.dtype, array, array)

    def push(self, buffer: Buffer, start: int, count: int) -> None:
        """Nothing to do."""

    def pull(self, buffer: Buffer, start: int, count: int) -> None:
        """Nothing to do."""

    def copy_prefix(self, source: Buffer, target: Buffer, length: int) -> None:
        target.array[:, :, :length] = source.array[:, :, :length]

    def clear(self, buffer: Buffer) -> None:
        buffer.array[...] = 0

    def synchronize(self) -> None:
        """Nothing to do."""


def size_bytes(shape: Sequence[int], dtype: npt.DTypeLike) -> int:
    return math.prod(shape) * np.dtype(dtype).itemsize
