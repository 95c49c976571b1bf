"""TensorRT or TensorRT for RTX, whichever is installed: the same API."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

from lineside.runtime.errors import DeviceUnusable

MODULES = ("tensorrt", "tensorrt_rtx")
"""In the order in which they are tried."""


def import_tensorrt(names: Sequence[str] = MODULES) -> tuple[Any, str, str]:
    """The first of `names` that is there: the module, its name and its version.

    Raises DeviceUnusable, with what was tried.
    """
    failures = []
    for name in names:
        try:
            module = importlib.import_module(name)
        except (ImportError, OSError, RuntimeError) as error:  # the packages load libraries, which may be missing
            failures.append(f"{name}: {error}")
            continue
        return module, name, str(module.__version__)
    raise DeviceUnusable(f"no TensorRT ({'; '.join(failures)}): pip install 'lineside[tensorrt]'")
