"""The engine and the daemon stay light: what they must not load is checked in a fresh interpreter."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

ENGINE = ("onnxruntime", "llguidance", "cv2", "mistral_common", "PIL")
HEAVY = (
    "torch", "transformers", "onnx", "safetensors", "scipy", "matplotlib", "pandas", "sklearn", "iotcore", "mcp",
    "starlette", "uvicorn", "pymodbus", "asyncua", "gpiozero",
)  # fmt: skip


@pytest.mark.parametrize(
    "module",
    [
        "lineside.runtime.engine.engine",
        "lineside.runtime.inspection.inspector",
        "lineside.runtime.assistant",
        "lineside.edge.daemon",
        "lineside.edge.command_line.main",
    ],
)
def test_nothing_heavy_is_imported(module: str) -> None:
    program = f"import sys, {module}; print([name for name in {HEAVY!r} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


@pytest.mark.parametrize("module", ["lineside.runtime.engine.engine", "lineside.edge.daemon"])
def test_mistral_common_is_not_imported_before_the_loading_of_the_model(module: str) -> None:
    """It takes longer to import than a small model to load: the daemon does both at once, so neither comes first."""
    program = f"import sys, {module}; print('mistral_common' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"


def test_a_start_waits_for_no_library_that_the_first_token_does_not_need(random_bundle: Path) -> None:
    """Each takes a tenth of a second or more. What checks a manifest is imported while the decoder loads, a tokenizer
    when there is a text, what bounds an answer when one is to be bounded.
    """
    program = f"""
import sys
from pathlib import Path
def loaded(*names): print([name for name in names if name in sys.modules])
import numpy as np
from lineside.runtime.chat import Prompt
from lineside.runtime.engine.engine import Engine
loaded(*{ENGINE!r}, "pydantic", "jsonschema")
import lineside.runtime.sessions.ort
loaded("llguidance", "cv2", "mistral_common", "PIL", "pydantic", "jsonschema")
engine = Engine.open(Path({str(random_bundle)!r}), threads=1)
with engine.sequence(Prompt(np.arange(300, 316)), reserve=1) as sequence:
    assert len(engine.generate(sequence, max_tokens=1).ids) <= 1
loaded("llguidance", "mistral_common", "tiktoken", "PIL", "jsonschema", "requests")
"""
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["[]"] * 3


def test_a_gpu_s_libraries_are_loaded_by_its_own_session_only() -> None:
    """Choosing a session looks at the driver and at what is installed; on a machine without a GPU nothing is loaded."""
    program = """
import sys
import lineside.edge.daemon
import lineside.edge.device_report
from lineside.devices.accelerators import Gpu
from lineside.edge.device_choice import SESSIONS, Machine, look, open_engine, problem
from lineside.runtime.bundle import open_bundle
from lineside.runtime.defaults import DEFAULT_BUNDLE
open_engine(DEFAULT_BUNDLE)
for device in SESSIONS:
    problem(device, look(), open_bundle(DEFAULT_BUNDLE))
gpu = Gpu(0, "RTX 4090", (8, 9), 25_000_000_000, (13, 0))
lineside.edge.device_report.look = lambda: Machine((gpu,))
list(lineside.edge.device_report.lines(DEFAULT_BUNDLE))
print(sorted(name for name in sys.modules if name.split(".")[0] in ("cuda", "tensorrt", "tensorrt_rtx")))
"""
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["completion", "bash"], ["check", "deploy/stations/ballscrew/station.toml"], ["new", "NEW"]],
)
def test_a_station_file_is_read_without_an_engine(arguments: list[str], tmp_path: Path) -> None:
    arguments = [str(tmp_path / "press4") if word == "NEW" else word for word in arguments]
    program = f"""
import sys
from lineside.edge.command_line.main import main
try:
    assert main({arguments!r}) == 0
except SystemExit as ended:
    assert ended.code == 0
print([name for name in {ENGINE!r} if name in sys.modules], file=sys.stderr)
"""
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert found.stderr.strip().splitlines()[-1] == "[]"


@pytest.mark.parametrize("module", ["lineside.edge.config", "lineside.runtime.inspection.verdict"])
def test_what_is_only_named_loads_no_engine(module: str) -> None:
    program = f"import sys, {module}; print([name for name in {ENGINE!r} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_a_plain_export_needs_no_torch() -> None:
    program = "import sys, lineside.export.command; print('torch' in sys.modules or 'transformers' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"
