"""TensorRT or TensorRT for RTX: the same API, of which the second builds for GPUs that are not there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from export.errors import EngineBuildFailed
from runtime.tensorrt_library import import_tensorrt

LEAST_CAPABILITY = 80
"""TensorRT has no INT4 weights for older GPUs."""


@dataclass(frozen=True)
class Library:
    """`targets` are those that it can build for, such as `sm89`; empty where it builds for the GPU that is there."""

    module: Any
    name: str
    version: str
    targets: tuple[str, ...]

    @property
    def measures(self) -> bool:
        """Whether it chooses kernels by their time. TensorRT for RTX compiles them where the engine is loaded."""
        return not self.targets


def load_library() -> Library:
    """Whichever is installed. Raises DeviceUnusable, with what was tried."""
    module, name, version = import_tensorrt()
    capabilities = getattr(module, "ComputeCapability", None)
    names = [c.name.lower() for c in capabilities.__members__.values()] if capabilities else []
    able = [n for n in names if n.startswith("sm") and int(n[2:]) >= LEAST_CAPABILITY]
    return Library(module, name, version, tuple(sorted(able, key=lambda n: int(n[2:]))))


def check_target(library: Library, target: str, present: str = "") -> None:
    """Raises EngineBuildFailed where `library` cannot build for `target`; `present` is the GPU that is there."""
    if target in library.targets or (not library.targets and target == present):
        return
    able = ", ".join(library.targets) or present or "the GPU of the machine it runs on, and there is none"
    other = "; for any other GPU install `tensorrt` on its machine and build there" if library.targets else ""
    raise EngineBuildFailed(
        f"{library.name} {library.version} does not build for {target}; it builds for {able}{other}"
    )
