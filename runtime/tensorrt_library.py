"""TensorRT or TensorRT for RTX, whichever is installed: the same API."""

from __future__ import annotations

import importlib
from typing import Any

from runtime.errors import DeviceUnusable

MODULES = ("tensorrt", "tensorrt_rtx")
"""In the order in which they are tried."""


def import_tensorrt() -> tuple[Any, str, str]:
    """The module, its name and its version. Raises DeviceUnusable, with what was tried."""
    failures = []
    for name in MODULES:
        try:
            module = importlib.import_module(name)
        except ImportError as error:  # tensorrt's package imports its libraries, which may be missing
            failures.append(f"{name}: {error}")
            continue
        return module, name, str(module.__version__)
    raise DeviceUnusable(f"no TensorRT ({'; '.join(failures)}): pip install 'lineside[tensorrt]'")
