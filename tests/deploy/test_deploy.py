"""What a user copies from `deploy`: checked by the tools of those who run it, where they are there."""

from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from lineside.edge.counters import BOUNDS_MS
from lineside.edge.metrics import HISTOGRAMS, SERIES, registry_of
from lineside.edge.wire.health import Health, WireBoard, WireCamera, WireHistogram, WireQueue
from lineside.edge.wire.messages import WireModel
from tests.conftest import ROOT

UNIT = ROOT / "deploy/systemd/lineside@.service"
DASHBOARD = ROOT / "deploy/compose/grafana/lineside.json"
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
    path = ROOT / "deploy/container/Containerfile"
    done = subprocess.run([hadolint, path], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def metric_names() -> set[str]:
    """Of a station where everything has happened."""
    health = Health(
        uptime_s=1.0,
        counters=dict.fromkeys((*SERIES, "outbox_refused"), 1),
        outbox_messages=0,
        cameras={"cam0": WireCamera(age_s=0.1)},
        queues={"frames": WireQueue(waiting=0)},
        bounds_ms=list(BOUNDS_MS),
        histograms=[
            WireHistogram(name=name, labels={label: "x"}, counts=[0] * len(BOUNDS_MS) + [1], sum_ms=1.0)
            for name, (label, _) in HISTOGRAMS.items()
        ],
        models={"frames": WireModel(name="m", sha256="0")},
        board=WireBoard(temperature_c={"cpu": 40.0}, power_w={"VDD_IN": 7.0}),
    )
    return {sample.name for family in registry_of(lambda: health).collect() for sample in family.samples}


def test_the_dashboard_asks_for_figures_that_there_are() -> None:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    expressions = [target["expr"] for panel in panels for target in panel["targets"]]
    asked = {name for expression in expressions for name in re.findall(r"lineside_\w+", expression)}
    assert len(asked) > 10
    assert asked - metric_names() == set()


def test_every_split_counter_is_counted_with_these_labels() -> None:
    """`SERIES` names the labels that the code gives."""
    given: dict[str, set[tuple[str, ...]]] = {}
    for path in (ROOT / "edge").rglob("*.py"):
        for call in ast.walk(ast.parse(path.read_text())):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == "add":
                name = call.args[0].value if call.args and isinstance(call.args[0], ast.Constant) else None
                labels = tuple(sorted(keyword.arg or "" for keyword in call.keywords))
                if isinstance(name, str) and labels:
                    given.setdefault(name, set()).add(labels)
    assert {name: {labels} for name, labels in SERIES.items() if not name.startswith("tokens_")} == given


def test_compose_mounts_what_is_there() -> None:
    folder = ROOT / "deploy/compose"
    mounted = re.findall(r"- (\.[^:]+):[^:\s]+:ro", (folder / "compose.yaml").read_text())
    assert len(mounted) >= 6
    made = {"./broker"}  # by the user, see docs/operate.md
    assert {path for path in mounted if not (folder / path).exists()} == made


def test_an_older_python_is_told_so() -> None:
    metadata = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert metadata["project"]["requires-python"] == ">=3.11"
    for name in ("__init__.py", "__main__.py"):
        source = (ROOT / "lineside" / name).read_text()
        ast.parse(source, feature_version=(3, 6))
        assert "from __future__ import annotations" not in source, "Python 3.6 does not read it"


@pytest.mark.parametrize("python", [path for path in OLD if int(path.parts[-3].split(".")[1]) < 11] or [None])
def test_an_older_python_refuses_in_one_sentence(python: Path | None) -> None:
    if python is None:
        pytest.skip("no older Python is there")
    done = subprocess.run([python, "-m", "lineside", "--help"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("lineside: needs Python 3.11 or later, and this is 3.")
    assert done.stderr.count("\n") == 1
