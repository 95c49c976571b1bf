"""What `lineside devices` prints: what the machine computes with, and whether a bundle fits."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from devices.accelerators import Gpu, cpu, gpus
from devices.errors import AcceleratorError
from runtime.bundle import read_manifest
from runtime.memory_plan import plan_memory

RUNTIMES = ("onnxruntime", "onnxruntime-gpu")
TENSORRT = ("tensorrt", "tensorrt-rtx")
GB = 1e9


def lines(bundle: Path | None) -> Iterator[str]:
    """One line for each thing found or missed. Raises BundleFormat where `bundle` is none."""
    processor = cpu()
    extensions = " ".join(processor.extensions) or "no extension that helps"
    yield f"cpu     {processor.name}, {processor.cores} cores, {processor.memory_bytes / GB:.1f} GB, {extensions}"
    try:
        found = gpus()
        for gpu in found:
            yield _gpu_line(gpu)
        if not found:
            yield "gpu     none: the driver shows no NVIDIA GPU"
    except AcceleratorError as error:
        yield f"gpu     none: {error}"
    runtime = _installed(RUNTIMES)
    yield f"session cpu: {f'works, {runtime}' if runtime else 'no onnxruntime, pip install lineside[cpu]'}"
    yield "session cuda, tensorrt: this version of Lineside runs on the CPU only"
    library = _installed(TENSORRT)
    yield f"engines {library or 'no TensorRT, pip install lineside[tensorrt]'}: for `lineside engine`"
    if bundle is not None:
        yield _fit_line(bundle, processor.memory_bytes)


def _gpu_line(gpu: Gpu) -> str:
    cuda = ".".join(map(str, gpu.driver))
    return f"gpu {gpu.index}   {gpu.name}, {gpu.memory_bytes / GB:.1f} GB, {gpu.target}, driver for CUDA {cuda}"


def _fit_line(path: Path, memory_bytes: int) -> str:
    manifest = read_manifest(path)
    plan = plan_memory(manifest, manifest.context_length)
    fits = min(plan.largest_context(memory_bytes), manifest.context_length)
    if not fits:
        needed = (plan.total_bytes - plan.kv_bytes) / GB
        return f"bundle  {manifest.name}: does not fit, it takes {needed:.1f} GB without a single token"
    return f"bundle  {manifest.name}: fits with {fits} of {manifest.context_length} tokens"


def _installed(packages: tuple[str, ...]) -> str:
    for package in packages:
        try:
            return f"{package} {version(package)}"
        except PackageNotFoundError:
            continue
    return ""
