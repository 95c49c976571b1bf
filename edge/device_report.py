"""What `lineside devices` prints: what the machine computes with, which sessions would work, and why others not."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from lineside.devices.accelerators import Gpu, cpu
from lineside.edge.config import Device
from lineside.edge.device_choice import PACKAGES, SESSIONS, installed, look, problem
from lineside.runtime.bundle import Bundle, open_bundle
from lineside.runtime.cores import usable_cores
from lineside.runtime.engine.engine import DEFAULT_CAPACITY
from lineside.runtime.engine.memory_plan import plan_memory

GB = 1e9


def lines(path: Path | None) -> Iterator[str]:
    """One line for each thing found or missed. Raises BundleError where `path` is no bundle."""
    bundle = open_bundle(path) if path else None
    processor, machine = cpu(), look()
    extensions = " ".join(processor.extensions) or "no extension that helps"
    yield f"cpu     {processor.name}, {_cores()}, {processor.memory_bytes / GB:.1f} GB, {extensions}"
    yield from map(_gpu_line, machine.gpus)
    if machine.missing:
        yield f"gpu     none: {machine.missing}"
    chosen = ""
    for device in SESSIONS:
        reason = problem(device, machine, bundle, DEFAULT_CAPACITY)
        chosen = chosen or ("" if reason else device)
        yield f"session {device}: {reason or f'works, {_found(device)}'}"
    yield f"auto    {chosen or 'none of them'}"
    library = installed(PACKAGES["tensorrt"])
    yield f"engines {library or 'no TensorRT, pip install lineside[tensorrt]'}: for `lineside engine`"
    if bundle is not None:
        yield _fit_line(bundle, processor.memory_bytes)


def _cores() -> str:
    usable, there = usable_cores(), os.cpu_count() or 1
    return f"{usable} cores" if usable >= there else f"{usable} of {there} cores"


def _found(device: Device) -> str:
    return installed(PACKAGES[device]) or installed(PACKAGES["cuda"])


def _gpu_line(gpu: Gpu) -> str:
    cuda = ".".join(map(str, gpu.driver))
    return f"gpu {gpu.index}   {gpu.name}, {gpu.memory_bytes / GB:.1f} GB, {gpu.target}, driver for CUDA {cuda}"


def _fit_line(bundle: Bundle, memory_bytes: int) -> str:
    manifest = bundle.manifest
    plan = plan_memory(manifest, manifest.context_length)
    fits = min(plan.largest_context(memory_bytes), manifest.context_length)
    if not fits:
        needed = (plan.total_bytes - plan.kv_bytes) / GB
        return (
            f"bundle  {manifest.name}: does not fit the CPU's memory, it takes {needed:.1f} GB without a single token"
        )
    return f"bundle  {manifest.name}: fits the CPU's memory with {fits} of {manifest.context_length} tokens"
