"""TensorRT or TensorRT for RTX: the same API, of which the second builds for GPUs that are not there."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

from export.errors import EngineBuildFailed, TensorRTMissing

MODULES = ("tensorrt", "tensorrt_rtx")
"""In the order in which they are tried."""
LEAST_CAPABILITY = 80
"""TensorRT has no INT4 weights for older GPUs."""


@dataclass(frozen=True)
class Library:
    """`targets` are those that it can build for, such as `sm89`; empty where it builds for the GPU that is there."""

    module: Any
    name: str
    version: str
    targets: tuple[str, ...]


def load_library() -> Library:
    """Import whichever is installed. Raises TensorRTMissing, with what was tried."""
    failures = []
    for name in MODULES:
        try:
            module = importlib.import_module(name)
        except ImportError as error:  # tensorrt's package imports its libraries, which may be missing
            failures.append(f"{name}: {error}")
            continue
        capabilities = getattr(module, "ComputeCapability", None)
        names = [c.name.lower() for c in capabilities.__members__.values()] if capabilities else []
        able = [n for n in names if n.startswith("sm") and int(n[2:]) >= LEAST_CAPABILITY]
        targets = sorted(able, key=lambda n: int(n[2:]))
        return Library(module, name, str(module.__version__), tuple(targets))
    raise TensorRTMissing(f"no TensorRT ({'; '.join(failures)}): pip install 'lineside[tensorrt]'")


def check_target(library: Library, target: str, present: str = "") -> None:
    """Raises EngineBuildFailed where `library` cannot build for `target`; `present` is the GPU that is there."""
    if target in library.targets or (not library.targets and target == present):
        return
    able = ", ".join(library.targets) or present or "the GPU of the machine it runs on, and there is none"
    raise EngineBuildFailed(f"{library.name} {library.version} does not build for {target}; it builds for {able}")
