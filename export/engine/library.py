"""TensorRT or TensorRT for RTX: the same API, of which the second builds for GPUs that are not there."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lineside.export.errors import EngineBuildFailed
from lineside.runtime.boards import JETSON
from lineside.runtime.errors import DeviceUnusable
from lineside.runtime.sessions.tensorrt.library import MODULES, import_tensorrt

LEAST_CAPABILITY = 80
"""TensorRT has no INT4 weights for older GPUs."""
LEAST_ON_JETSON = (10, 15)
"""TensorRT's version whose parser knows every operator of the graphs: see docs/jetson.md."""


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


def choose_library(target: str, present: str = "") -> Library:
    """The first that is installed and builds for `target`; `present` is the GPU that is there.

    Raises DeviceUnusable where none is installed, EngineBuildFailed where none builds for it, each saying why.
    """
    if target in JETSON:
        return _of_jetpack(target, present)
    refused = []
    for name in MODULES:
        try:
            library = load_library((name,))
            check_target(library, target, present)
        except DeviceUnusable:
            continue
        except EngineBuildFailed as error:
            refused.append(str(error))
        else:
            return library
    if not refused:
        load_library()
    raise EngineBuildFailed("; ".join(refused))


def _of_jetpack(target: str, present: str) -> Library:
    """A Jetson's own TensorRT, on the board. Raises as `choose_library` does, with the way there."""
    board = JETSON[target]
    if target != present:
        raise EngineBuildFailed(
            f"{target} is {board}, whose engines are built on the board: TensorRT for RTX, which builds for other GPUs "
            f"from anywhere, has no {target}, and JetPack's TensorRT builds for the GPU that is there. Copy the bundle "
            f"to the board and run `lineside engine` there (docs/jetson.md)"
        )
    try:
        library = load_library(("tensorrt",))
    except DeviceUnusable as error:
        raise DeviceUnusable(
            f"no TensorRT that Python can import on this {board}: it comes with JetPack, `sudo apt-get install "
            "python3-libnvinfer`, and Python must see the system's packages (docs/jetson.md)"
        ) from error
    if _numbers(library.version) < LEAST_ON_JETSON:
        raise EngineBuildFailed(
            f"tensorrt {library.version} cannot read the graphs: RotaryEmbedding, RMSNormalization and TensorScatter "
            "came with 10.15. Bring the board to JetPack 7.2 or later, which has 10.16 (docs/jetson.md)"
        )
    check_target(library, target, present)
    return library


def _numbers(version: str) -> tuple[int, ...]:
    """Major and minor."""
    return tuple(int(number) for number in re.findall(r"\d+", version)[:2])


def load_library(names: Sequence[str] = MODULES) -> Library:
    """The first of them that is installed. Raises DeviceUnusable, with what was tried."""
    module, name, version = import_tensorrt(names)
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
