"""The package as a user gets it: built, installed into a fresh environment, run from an empty folder."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import cv2
import pytest

from lineside.runtime.picture import decode_picture
from tests.conftest import ROOT
from tests.support.broker import Mosquitto
from tests.support.checkpoints import copy_checkpoint
from tests.support.client import Client
from tests.support.linked import link_environment
from tests.support.linked import run as do

Run = Callable[..., subprocess.CompletedProcess[str]]
COMMAND_S = 900
NOT_SOURCE = shutil.ignore_patterns(".git", ".venv*", "build", "dist", "*.egg-info", "__pycache__", ".*_cache")

pytestmark = [pytest.mark.plain_broker, pytest.mark.timeout(2 * COMMAND_S)]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from an sdist of a clean copy: what an earlier build left behind must not come along."""
    folder = tmp_path_factory.mktemp("dist")
    source = Path(shutil.copytree(ROOT, folder / "source", symlinks=True, ignore=NOT_SOURCE))
    do(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, source)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment with the wheel and what it requires; its folder of programs."""
    return link_environment(wheel, {"demo", "export"}, tmp_path_factory.mktemp("environment"))


@pytest.fixture
def run(installed: Path, tmp_path: Path) -> Run:
    """Runs `lineside` in an empty folder, with nothing of this checkout in its environment."""

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [installed / "lineside", *map(str, arguments)],
            cwd=tmp_path,
            env={"PATH": f"{installed}:/usr/bin:/bin", "HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=COMMAND_S,
            check=False,
        )

    return run


def test_the_wheel_has_one_name_the_stations_and_no_recipe(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    top = {name.split("/")[0] for name in names}
    assert {name for name in top if not name.endswith(".dist-info")} == {"lineside"}
    assert "lineside/py.typed" in names
    assert "lineside/deploy/asyncapi.json" in names
    for station in ("ballscrew", "boards", "bottles"):
        assert f"lineside/deploy/stations/{station}/station.toml" in names
    assert not [name for name in names if "default_model" in name]


def test_the_demo_runs(run: Run, tmp_path: Path) -> None:
    result = run("demo")
    assert result.returncode == 0, result.stdout + result.stderr
    assert sum(line.startswith("01_2") for line in result.stdout.splitlines()) == 12
    assert "set_belt_speed: achieved" in result.stdout
    assert len(list((tmp_path / "demo-output").glob("*.jpg"))) == 12


def test_a_new_station_is_checked_taught_and_run(
    run: Run, tmp_path: Path, installed: Path, broker: Mosquitto, client: Client
) -> None:
    made = run("new", "press4")
    assert made.returncode == 0, made.stderr
    station = tmp_path / "press4" / "station.toml"
    checked = run("check", station)
    assert checked.returncode == 0, checked.stderr
    assert "station press4" in checked.stdout
    pictures, labels = _labelled(station.parent, tmp_path / "labelled")
    assert run("learn", station, pictures).returncode == 0
    calibrated = run("calibrate", station, labels)
    assert calibrated.returncode == 0, calibrated.stderr
    text = station.read_text(encoding="utf-8")
    station.write_text(text.replace('host = "localhost"', f'host = "127.0.0.1"\nport = {broker.port}'), "utf-8")
    process = subprocess.Popen([installed / "lineside", "run", "-c", station], stderr=subprocess.DEVNULL)
    try:
        results = client.on("lineside/press4/result/cam0", count=3)
        assert {result.json()["verdict"] for result in results} <= {"pass", "fail", "unsure"}
    finally:
        process.terminate()
        assert process.wait(timeout=60) == 0


def test_pictures_are_inspected_and_sentences_decided(run: Run, pictures: list[Path]) -> None:
    assert "fail" in run("inspect", "default", pictures[-1], "--part", "ball screw").stdout
    assert "was not taught to converse" in run("ask", "default", "Is the belt running?").stderr
    assert run("new", "ride", "--template", "car").returncode == 0
    assert 'Media_Volume {"value": 30}' in run("say", "ride", "volume to 30").stdout
    assert "ok: default" in run("check").stdout


def test_a_checkpoint_is_exported(run: Run, tmp_path: Path) -> None:
    exported = run("export", copy_checkpoint("tied", tmp_path), "bundle")
    assert exported.returncode == 0, exported.stderr
    assert run("check", "bundle").returncode == 0


def _labelled(station: Path, folder: Path) -> tuple[Path, Path]:
    """A folder of good pictures, each also rotated, so that there are enough of them; one of good and bad ones."""
    labels = json.loads((station / "labels.json").read_text(encoding="utf-8"))
    for name in ("pass", "fail", "good"):
        (folder / name).mkdir(parents=True)
    for path in sorted((station / "pictures").glob("*.jpg")):
        verdict = labels[path.name]["verdict"]
        shutil.copy(path, folder / verdict)
        if verdict == "pass":
            shutil.copy(path, folder / "good")
            rotated = decode_picture(path.read_bytes())[::-1, ::-1, ::-1]
            cv2.imwrite(str(folder / "good" / f"rotated_{path.name}"), rotated)
    return folder / "good", folder
