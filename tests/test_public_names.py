"""What users import stays importable, and `import lineside` stays light."""

from __future__ import annotations

import subprocess
import sys

import pytest

import lineside

NAMES = {
    "Assistant",
    "DEFAULT_BUNDLE",
    "Engine",
    "InspectionTask",
    "Inspector",
    "Message",
    "Tool",
    "ask",
    "decode_picture",
    "open_bundle",
    "stream",
}


def test_the_public_names_are_these() -> None:
    assert {name for name in dir(lineside) if not name.startswith("_")} == NAMES
    assert all(hasattr(lineside, name) for name in NAMES)
    assert lineside.__version__
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = lineside.nonsense


def test_importing_lineside_loads_no_engine() -> None:
    program = "import sys, lineside; print([m for m in ('numpy', 'onnxruntime', 'pydantic') if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
