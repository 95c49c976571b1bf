"""Lineside: a Mistral-family vision-language model beside the camera.

The names below are the public ones; each is loaded when it is first used, so `import lineside` loads no engine.
Nothing leaves the machine: see `_QUIET`.

    from pathlib import Path

    inspector = lineside.Inspector(lineside.Engine.open(lineside.DEFAULT_BUNDLE), lineside.InspectionTask(("pitting",)))
    print(inspector.inspect(lineside.decode_picture(Path("part.jpg").read_bytes())))
"""

import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

if sys.version_info < (3, 11):  # noqa: UP036 (this file and __main__ are read by every Python 3)
    _TOO_OLD = "lineside: needs Python 3.11 or later, and this is %d.%d" % sys.version_info[:2]  # noqa: UP031
    if sys.argv[:1] == ["-m"]:  # `python -m lineside`
        sys.exit(_TOO_OLD)
    raise ImportError(_TOO_OLD)

if TYPE_CHECKING:
    from lineside.runtime.assistant import Assistant as Assistant
    from lineside.runtime.assistant import ask as ask
    from lineside.runtime.assistant import stream as stream
    from lineside.runtime.bundle import open_bundle as open_bundle
    from lineside.runtime.chat import Message as Message
    from lineside.runtime.chat import Tool as Tool
    from lineside.runtime.defaults import DEFAULT_BUNDLE as DEFAULT_BUNDLE
    from lineside.runtime.engine.engine import Engine as Engine
    from lineside.runtime.inspection.inspector import Inspector as Inspector
    from lineside.runtime.inspection.task import InspectionTask as InspectionTask
    from lineside.runtime.picture import decode_picture as decode_picture

__version__ = "0.1.0"

_QUIET = {"ORT_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "DISABLE_TQDM": "1"}
"""ONNX Runtime (1.29 and later, on Linux) would look up a host of its maker's and keep a device id below the home
folder; the Hub's client, where mistral-common finds one, would report to its own; the progress bar of bm25s makes a
semaphore below /dev/shm, shown or not. All read this as they are imported, and every import of Lineside passes here
before."""
os.environ.update(_QUIET)

_PUBLIC = {
    "Assistant": "runtime.assistant",
    "DEFAULT_BUNDLE": "runtime.defaults",
    "Engine": "runtime.engine.engine",
    "InspectionTask": "runtime.inspection.task",
    "Inspector": "runtime.inspection.inspector",
    "Message": "runtime.chat",
    "Tool": "runtime.chat",
    "ask": "runtime.assistant",
    "decode_picture": "runtime.picture",
    "open_bundle": "runtime.bundle",
    "stream": "runtime.assistant",
}


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'lineside' has no attribute {name!r}")
    return getattr(import_module(f"lineside.{_PUBLIC[name]}"), name)


def __dir__() -> list[str]:
    return sorted(["__version__", *_PUBLIC])
