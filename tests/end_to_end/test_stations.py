"""The stations that ship, each as `lineside demo` plays it: with the embedded broker and the default model."""

from __future__ import annotations

from pathlib import Path

import pytest

from lineside.edge.demo.play import Summary, run_demo
from lineside.edge.demo.scene import Scene, read_scene
from lineside.edge.errors import ConfigError
from tests.conftest import ROOT

STATIONS = ROOT / "deploy" / "stations"


def play(name: str, folder: Path) -> Summary:
    return run_demo(STATIONS / name / "station.toml", "", folder / "evidence")


@pytest.mark.parametrize("name", ["home", "car"])
def test_people_and_devices(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert play(name, tmp_path) == Summary(0, 0, ())
    said = [step.say for step in read_scene(STATIONS / name).steps if step.say]
    assert capsys.readouterr().out.count("\nreply ") >= len(said) > 3


def test_parts_on_a_belt(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each part that the PLC's photo-eye sees has one result of both cameras."""
    assert play("factory", tmp_path) == Summary(4, 4, ())
    out = capsys.readouterr().out
    assert out.count("\npart: left ") == 4
    assert [line for line in out.splitlines() if line.startswith("part: left fail, right fail ")]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("steps = 3", "steps"),
        ("[[steps]]\nsai = 'stop'", "sai"),
        ("[plc]\nparts = 1", "photo_eye"),
        ("[[steps", "is not TOML"),
    ],
)
def test_a_mistake_in_the_scene_is_named(text: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "demo.toml").write_text(text)
    with pytest.raises(ConfigError, match=told) as refused:
        read_scene(tmp_path)
    assert "demo.toml" in str(refused.value)


def test_a_station_without_a_scene_is_played_without_one(tmp_path: Path) -> None:
    assert read_scene(tmp_path) == Scene()
