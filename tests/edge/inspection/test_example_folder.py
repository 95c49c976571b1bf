"""`[inspect] examples`: what is read from the folder, what is wrong with it, and what it takes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from lineside.edge.camera_config import CameraConfig
from lineside.edge.command_line.main import main
from lineside.edge.config import Config
from lineside.edge.errors import ConfigError
from lineside.edge.inspect_config import InspectConfig
from lineside.edge.inspection.calibration_file import task_digest
from lineside.edge.inspection.inspectors import open_inspectors
from lineside.edge.inspection.tasks import inspection_task
from lineside.runtime.engine.engine import Engine, Limits


def draw(path: Path, seed: int = 0, height: int = 56) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.random.default_rng(seed).integers(0, 255, (height, 84, 3), np.uint8))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shown = tmp_path / "shown"
    for seed, name in enumerate(("pass/a.png", "pass/b.jpg", "pass/c.jpg", "fail/z.png")):
        draw(shown / name, seed)
    (shown / "fail/z.txt").write_text("A crack at the left edge.\n")
    (shown / "pass/notes.md").write_text("not a picture")
    return shown


def config(tmp_path: Path, *, examples: str = "shown", camera: CameraConfig | None = None) -> Config:
    cameras = {"cam0": camera or CameraConfig("mqtt")}
    return Config(inspect=InspectConfig(examples=examples), cameras=cameras, folder=tmp_path)


@pytest.mark.usefixtures("folder")
def test_good_and_defective_ones_take_turns(tmp_path: Path) -> None:
    examples = inspection_task(config(tmp_path), "cam0").examples
    assert [(each.verdict, each.text) for each in examples] == [
        ("pass", ""),
        ("fail", "A crack at the left edge."),
        ("pass", ""),
        ("pass", ""),
    ]
    assert examples[0].picture.shape == (56, 84, 3)
    own = CameraConfig("mqtt", examples="shown")
    assert len(inspection_task(config(tmp_path, examples="", camera=own), "cam0").examples) == 4
    beside = CameraConfig("mqtt", reference="shown/pass/a.png")
    assert inspection_task(config(tmp_path, camera=beside), "cam0").examples == ()


def test_other_examples_are_another_task(folder: Path, tmp_path: Path) -> None:
    digests = [task_digest(inspection_task(config(tmp_path, examples=name), "cam0")) for name in ("", "shown")]
    (folder / "fail/z.txt").write_text("A dent.")
    digests.append(task_digest(inspection_task(config(tmp_path), "cam0")))
    draw(folder / "pass/a.png", seed=9)
    digests.append(task_digest(inspection_task(config(tmp_path), "cam0")))
    (folder / "fail/z.png").rename(folder / "pass/z.png")
    (folder / "fail/z.txt").rename(folder / "pass/z.txt")
    digests.append(task_digest(inspection_task(config(tmp_path), "cam0")))
    assert len(set(digests)) == 5


def test_every_mistake_names_the_key_and_the_file(folder: Path, tmp_path: Path) -> None:
    def said() -> str:
        with pytest.raises(ConfigError, match=r"`inspect.examples`: ") as raised:
            inspection_task(config(tmp_path), "cam0")
        return str(raised.value)

    text = folder / "fail/z.txt"
    text.write_text("one\ntwo")
    assert f"{text} is more than one line" in said()
    text.write_bytes(b"\xff\xff")
    assert f"{text} is not UTF-8" in said()
    text.unlink()
    (folder / "fail/q.txt").write_text("of no picture")
    assert "fail/q.txt belongs to no picture" in said()
    (folder / "fail/q.txt").unlink()
    (folder / "pass/d.jpg").write_bytes(b"no picture")
    assert str(folder / "pass/d.jpg") in said()
    (folder / "pass/d.jpg").unlink()
    for number in range(13):
        draw(folder / f"fail/{number}.png")
    assert "has 17 pictures in `pass` and `fail`; at most 16 are shown" in said()
    for path in [*(folder / "pass").iterdir(), *(folder / "fail").iterdir()]:
        path.unlink()
    assert "has no pictures" in said()


def test_a_folder_that_is_not_there_is_said_with_its_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "station.toml"
    file.write_text(
        '[inspect]\nexamples = "nowhere"\ntemplate = "no.toml"\n[cameras.cam0]\nkind = "mqtt"\nexamples = "gone"\n'
    )
    assert main(["check", str(file)]) == 2
    told = capsys.readouterr().err
    assert "station.toml:2: `inspect.examples`: " in told
    assert "station.toml:3: `inspect.template`: " in told
    assert "station.toml:6: `cameras.cam0.examples`: " in told


@pytest.mark.usefixtures("folder")
def test_what_does_not_fit_is_said_with_its_figures(tmp_path: Path, random_bundle: Path) -> None:
    engine = Engine.open(random_bundle, threads=1, limits=Limits(capacity=600))
    with pytest.raises(ConfigError, match=r"`inspect.examples`: the 4 .* \d+ tokens, .*`model.capacity` is 600"):
        open_inspectors(config(tmp_path), engine)
    room = 3 * engine.pool.cost(1024) // 2
    engine = Engine.open(random_bundle, threads=1, limits=Limits(1024, kv_cache_bytes=room))
    with pytest.raises(ConfigError, match=r"`inspect.examples`: .* MB of KV cache.*`model.kv_cache_mb`"):
        open_inspectors(config(tmp_path), engine)


@pytest.mark.usefixtures("folder")
def test_a_new_station_file_takes_new_ones(tmp_path: Path, random_bundle: Path) -> None:
    """While the old ones are still there; those that stay are not computed again."""
    engine = Engine.open(random_bundle, threads=1, limits=Limits(1024))
    before, degraded = open_inspectors(config(tmp_path), engine)
    assert degraded == []
    caches = engine.pool.statistics().caches
    again, _ = open_inspectors(config(tmp_path), engine)
    assert engine.pool.statistics().caches == caches
    del before, again
    other = replace(config(tmp_path).inspect, instruction="Be strict.", examples="shown")
    assert open_inspectors(replace(config(tmp_path), inspect=other), engine)[0]


@pytest.mark.usefixtures("folder")
def test_the_default_model_was_not_taught_so(tmp_path: Path, default_engine: Engine) -> None:
    told = config(tmp_path)
    (sentence,) = open_inspectors(replace(told, inspect=replace(told.inspect, part="ball screw")), default_engine)[1]
    assert "all that cam0 sees is `unsure`: the model was not taught to judge by `examples`" in sentence


@pytest.mark.usefixtures("folder")
def test_plan_counts_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "station.toml"
    file.write_text('[inspect]\nexamples = "shown"\n[cameras.cam0]\nkind = "mqtt"\n')
    assert main(["plan", str(file)]) == 0
    assert "cam0: 4 examples take 1" in (planned := capsys.readouterr().out), planned
    file.write_text(file.read_text() + "[model]\ncapacity = 512\n")
    assert main(["plan", str(file)]) == 2
    assert "`model.capacity` is 512" in capsys.readouterr().err
