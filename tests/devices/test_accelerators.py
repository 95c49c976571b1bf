"""GPUs as the driver's library tells: a small library stands in for it, since CI has neither."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from lineside.devices.accelerators import Gpu, cpu, gpus
from lineside.devices.errors import AcceleratorError

DRIVER = """
#include <string.h>
int cuInit(unsigned flags) { return INIT; }
int cuDriverGetVersion(int *version) { *version = 13020; return 0; }
int cuDeviceGetCount(int *count) { *count = 2; return 0; }
int cuDeviceGet(int *device, int index) { *device = index + 7; return 0; }
int cuDeviceGetName(char *name, int size, int device) {
    strncpy(name, device == 7 ? "RTX 4090" : "Orin", size); return 0; }
int cuDeviceTotalMem_v2(size_t *bytes, int device) { *bytes = device == 7 ? 25000000000UL : 8000000000UL; return 0; }
int cuDeviceGetAttribute(int *value, int attribute, int device) {
    *value = attribute == 75 ? 8 : attribute == 76 ? (device == 7 ? 9 : 7) : -1; return 0; }
"""


@pytest.fixture
def driver(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A library whose cuInit gives what the test is parametrized with."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler")
    source, library = tmp_path / "cuda.c", tmp_path / "libcuda.so.1"
    source.write_text(DRIVER.replace("INIT", str(request.param)))
    subprocess.run([compiler, "-shared", "-fPIC", "-o", str(library), str(source)], check=True)
    return str(library)


@pytest.mark.parametrize("driver", [0], indirect=True)
def test_every_gpu_with_what_it_can(driver: str) -> None:
    assert gpus(driver) == [
        Gpu(0, "RTX 4090", (8, 9), 25_000_000_000, (13, 2)),
        Gpu(1, "Orin", (8, 7), 8_000_000_000, (13, 2)),
    ]
    assert [gpu.target for gpu in gpus(driver)] == ["sm89", "sm87"]


@pytest.mark.parametrize("driver", [100], indirect=True)
def test_a_driver_without_a_gpu(driver: str) -> None:
    assert gpus(driver) == []


@pytest.mark.parametrize("driver", [999], indirect=True)
def test_a_driver_that_fails_says_so(driver: str) -> None:
    with pytest.raises(AcceleratorError, match="cuInit gives error 999"):
        gpus(driver)


def test_a_machine_without_a_driver(tmp_path: Path) -> None:
    with pytest.raises(AcceleratorError, match="no NVIDIA driver"):
        gpus(str(tmp_path / "libcuda.so.1"))


def test_the_cpu_is_described(tmp_path: Path) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text("processor\t: 0\nmodel name\t: EPYC 7B13\nflags\t\t: fpu sse avx2 avx512f avx512_vnni ht\n")
    found = cpu(info)
    assert (found.name, found.extensions) == ("EPYC 7B13", ("avx2", "avx512f", "avx512_vnni"))
    assert found.memory_bytes > 1e8
    assert cpu(tmp_path / "none").extensions == ()
