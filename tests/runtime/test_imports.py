"""The engine and the daemon stay light: what they must not load is checked in a fresh interpreter."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("torch", "transformers", "onnx", "safetensors", "scipy", "matplotlib", "pandas", "sklearn", "iotcore")


@pytest.mark.parametrize(
    "module", ["runtime.engine", "runtime.inspector", "runtime.assistant", "edge.daemon", "edge.cli"]
)
def test_nothing_heavy_is_imported(module: str) -> None:
    program = f"import sys, {module}; print([name for name in {HEAVY!r} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_a_plain_export_needs_no_torch() -> None:
    program = "import sys, export.command; print('torch' in sys.modules or 'transformers' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"
