"""What a user copies from `deploy`: checked by the tools of those who run it, where they are there."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from lineside.edge.metrics import SERIES
from tests.conftest import ROOT

UNIT = ROOT / "deploy/systemd/lineside@.service"
CONTAINER = ROOT / "deploy/container/Containerfile"
OLD = sorted(Path.home().glob(".pyenv/versions/3.*/bin/python3"))
TOO_EXPOSED = 2.0


def systemd_analyze(*arguments: object) -> str:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not there")
    command = ["systemd-analyze", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    """With a program that is there in place of Lineside; a key that it does not know is said and no error."""
    text = UNIT.read_text().replace("/opt/lineside/bin/lineside", sys.executable)
    (tmp_path / UNIT.name).write_text(text)
    folder = tmp_path / f"{UNIT.name}.d"
    folder.mkdir()
    shutil.copy(ROOT / "deploy/systemd/lineside-devices.conf", folder)
    assert systemd_analyze("verify", tmp_path / UNIT.name) == ""


def test_the_unit_is_hardened() -> None:
    told = systemd_analyze("security", "--offline=true", UNIT)
    level = re.search(r"exposure level for \S+: ([\d.]+)", told)
    assert level is not None
    assert float(level[1]) <= TOO_EXPOSED, told


def test_the_container_file_has_nothing_to_complain_of() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    if not hadolint.exists():
        pytest.skip("hadolint is not there")
    done = subprocess.run([hadolint, CONTAINER], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_every_split_counter_is_counted_with_these_labels() -> None:
    """`SERIES` names the labels that the code gives."""
    given: dict[str, set[tuple[str, ...]]] = {}
    for path in (ROOT / "edge").rglob("*.py"):
        for call in ast.walk(ast.parse(path.read_text())):
            if isinstance(call, ast.Call) and re.search(r"counters\.add$", ast.unparse(call.func)):
                name = call.args[0].value if call.args and isinstance(call.args[0], ast.Constant) else None
                labels = tuple(sorted(keyword.arg or "" for keyword in call.keywords))
                if isinstance(name, str) and labels:
                    given.setdefault(name, set()).add(labels)
    assert {name: {labels} for name, labels in SERIES.items() if not name.startswith("tokens_")} == given


def test_the_container_takes_one_pin_for_each_package() -> None:
    """Packages that are pinned several times, with markers, have one that fits."""
    command = re.search(r"(sed -nE .*?) > /tmp/pins.txt", CONTAINER.read_text())
    assert command is not None
    told = subprocess.run(command[1], shell=True, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    pins = [Requirement(line) for line in told.splitlines()]
    fitting = [pin.name for pin in pins if pin.marker is None or pin.marker.evaluate()]
    assert len(fitting) > 40
    assert len(fitting) == len(set(fitting))


def test_an_older_python_is_told_so() -> None:
    metadata = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert metadata["project"]["requires-python"] == ">=3.11"
    for name in ("__init__.py", "__main__.py"):
        source = (ROOT / "lineside" / name).read_text()
        ast.parse(source, feature_version=(3, 6))
        assert "from __future__ import annotations" not in source, "Python 3.6 does not read it"


@pytest.mark.parametrize("python", [path for path in OLD if int(path.parts[-3].split(".")[1]) < 11] or [None])
def test_an_older_python_refuses_in_one_sentence(python: Path | None, tmp_path: Path) -> None:
    """By hand, and by `make demo`, before it makes anything."""
    if python is None:
        pytest.skip("no older Python is there")
    by_hand = [str(python), "-m", "lineside", "--help"]
    made = ["make", "demo", f"PYTHON={python}", f"VENV={tmp_path / 'venv'}"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    for command, code in ((by_hand, 1), (made, 2)):
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=environment)
        assert done.returncode == code
        told = [line for line in done.stderr.splitlines() if not line.startswith("make: ***")]
        assert len(told) == 1
        assert told[0].startswith("lineside: needs Python 3.11 or later, and this is 3.")
    assert list(tmp_path.iterdir()) == []
