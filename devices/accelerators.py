"""What the machine computes with: its CPU, and its NVIDIA GPUs by the driver's own library.

Only `libcuda`, which comes with the driver, is asked: no CUDA toolkit and no Python package is needed to look.
"""

from __future__ import annotations

import ctypes
import os
import platform
from dataclasses import dataclass
from pathlib import Path

from lineside.devices.errors import AcceleratorError, DriverMissing

LIBRARY = "libcuda.so.1"
CUDA_SUCCESS, CUDA_ERROR_NO_DEVICE = 0, 100
CAPABILITY_MAJOR, CAPABILITY_MINOR = 75, 76
"""CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR."""
NAME_BYTES = 128


@dataclass(frozen=True)
class Gpu:
    """An NVIDIA GPU. `driver` is the newest version of CUDA that the driver runs, major and minor."""

    index: int
    name: str
    capability: tuple[int, int]
    memory_bytes: int
    driver: tuple[int, int]

    @property
    def target(self) -> str:
        """As `lineside engine --target` takes it."""
        return f"sm{self.capability[0]}{self.capability[1]}"


@dataclass(frozen=True)
class Cpu:
    """`extensions` are those that ONNX Runtime's kernels gain from."""

    name: str
    memory_bytes: int
    extensions: tuple[str, ...]


def gpus(library: str = LIBRARY) -> list[Gpu]:
    """Those that the driver shows, none where the machine has none.

    Raises DriverMissing where there is no driver, AcceleratorError where it fails.
    """
    try:
        cuda = ctypes.CDLL(library)
    except OSError:
        raise DriverMissing(f"no NVIDIA driver ({library} is not there)") from None
    code = cuda.cuInit(0)
    if code == CUDA_ERROR_NO_DEVICE:
        return []
    _check(code, "cuInit")
    version, count = ctypes.c_int(), ctypes.c_int()
    _check(cuda.cuDriverGetVersion(ctypes.byref(version)), "cuDriverGetVersion")
    _check(cuda.cuDeviceGetCount(ctypes.byref(count)), "cuDeviceGetCount")
    driver = (version.value // 1000, version.value % 1000 // 10)
    return [_gpu(cuda, index, driver) for index in range(count.value)]


def _gpu(cuda: ctypes.CDLL, index: int, driver: tuple[int, int]) -> Gpu:
    device, memory = ctypes.c_int(), ctypes.c_size_t()
    name = ctypes.create_string_buffer(NAME_BYTES)
    major, minor = ctypes.c_int(), ctypes.c_int()
    _check(cuda.cuDeviceGet(ctypes.byref(device), index), "cuDeviceGet")
    _check(cuda.cuDeviceGetName(name, NAME_BYTES, device), "cuDeviceGetName")
    _check(cuda.cuDeviceTotalMem_v2(ctypes.byref(memory), device), "cuDeviceTotalMem")
    for value, attribute in ((major, CAPABILITY_MAJOR), (minor, CAPABILITY_MINOR)):
        _check(cuda.cuDeviceGetAttribute(ctypes.byref(value), attribute, device), "cuDeviceGetAttribute")
    return Gpu(index, name.value.decode(errors="replace"), (major.value, minor.value), memory.value, driver)


def _check(code: int, call: str) -> None:
    if code != CUDA_SUCCESS:
        advice = "is it loaded, and may you use it?"
        raise AcceleratorError(f"the NVIDIA driver fails ({call} gives error {code}): {advice}")


def cpu(info: Path = Path("/proc/cpuinfo")) -> Cpu:
    """This machine's CPU, as far as the system tells."""
    text = info.read_text(encoding="utf-8", errors="replace") if info.exists() else ""
    fields = dict(_field(line) for line in text.splitlines() if ":" in line)
    flags = set((fields.get("flags") or fields.get("Features") or "").split())
    wanted = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8", "asimd", "asimddp", "i8mm")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    name = fields.get("model name") or platform.machine()
    return Cpu(name, memory, tuple(flag for flag in wanted if flag in flags))


def _field(line: str) -> tuple[str, str]:
    key, _, value = line.partition(":")
    return key.strip(), value.strip()
