"""What `lineside devices` says of a machine with a GPU, which is looked at by the driver alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from lineside.devices.accelerators import Gpu
from lineside.edge.device_choice import Machine
from lineside.edge.device_report import lines

RTX4090 = Gpu(0, "RTX 4090", (8, 9), 25_000_000_000, (13, 0))
OLD = Gpu(1, "GTX 1080", (6, 1), 8_500_000_000, (13, 0))


def said(monkeypatch: pytest.MonkeyPatch, machine: Machine, there: tuple[str, ...], bundle: Path | None) -> list[str]:
    """The lines of a machine on which the packages `there` are installed."""
    monkeypatch.setattr("lineside.edge.device_report.look", lambda: machine)
    for module in ("lineside.edge.device_report", "lineside.edge.device_choice"):
        monkeypatch.setattr(
            f"{module}.installed", lambda names: next((f"{name} 9.9" for name in names if name in there), "")
        )
    return list(lines(bundle))


def starting(found: list[str], beginning: str) -> str:
    (line,) = (line for line in found if line.startswith(beginning))
    return line


def test_a_gpu_that_works(monkeypatch: pytest.MonkeyPatch, random_bundle: Path) -> None:
    there = ("onnxruntime-gpu", "cuda-bindings", "tensorrt-rtx")
    found = said(monkeypatch, Machine((RTX4090, OLD)), there, random_bundle)
    assert starting(found, "gpu 0") == "gpu 0   RTX 4090, 25.0 GB, sm89, driver for CUDA 13.0"
    assert starting(found, "gpu 1") == "gpu 1   GTX 1080, 8.5 GB, sm61, driver for CUDA 13.0"
    assert "no engines for sm89: build them with `lineside engine" in starting(found, "session tensorrt")
    assert starting(found, "session cuda") == "session cuda: works, onnxruntime-gpu 9.9"
    assert starting(found, "session cpu") == "session cpu: works, onnxruntime-gpu 9.9"
    assert starting(found, "auto") == "auto    cuda"
    assert starting(found, "engines") == "engines tensorrt-rtx 9.9: for `lineside engine`"
    assert not [line for line in found if line.startswith("gpu     none")]


def test_a_gpu_whose_packages_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    found = said(monkeypatch, Machine((RTX4090,)), ("onnxruntime",), None)
    assert starting(found, "session tensorrt").startswith("session tensorrt: tensorrt or tensorrt-rtx is not installed")
    assert starting(found, "session cuda").startswith("session cuda: onnxruntime-gpu is not installed")
    assert starting(found, "auto") == "auto    cpu"
    assert starting(found, "engines") == "engines no TensorRT, pip install lineside[tensorrt]: for `lineside engine`"


def test_a_driver_that_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = Machine((), "the NVIDIA driver fails (cuInit gives error 999)", broken=True)
    found = said(monkeypatch, broken, ("onnxruntime",), None)
    assert starting(found, "gpu") == f"gpu     none: {broken.missing}"
    assert starting(found, "session cuda") == f"session cuda: {broken.missing}"
    assert starting(found, "auto") == "auto    cpu"
