from __future__ import annotations

from pathlib import Path

import pytest

from lineside.edge.camera_config import CameraConfig
from lineside.edge.config import Config
from lineside.edge.errors import ConfigError
from lineside.edge.inspect_config import InspectConfig
from lineside.edge.inspection.calibration_file import task_digest
from lineside.edge.inspection.tasks import inspection_task
from lineside.runtime.engine.engine import Engine
from lineside.runtime.inspection.inspector import Inspector


def test_a_camera_has_its_own_settings_or_those_of_inspect(tmp_path: Path) -> None:
    (tmp_path / "own.json").write_text('{"type": "boolean"}')
    cameras = {
        "plain": CameraConfig("mqtt"),
        "own": CameraConfig("mqtt", defect_types=("dent", "scratch"), instruction="Look well.", schema="own.json"),
    }
    config = Config(inspect=InspectConfig(("pitting",), "Be strict."), cameras=cameras, folder=tmp_path)
    plain, own = inspection_task(config, "plain"), inspection_task(config, "own")
    assert (plain.defect_types, plain.instruction, plain.report) == (("pitting",), "Be strict.", None)
    assert (own.defect_types, own.instruction, own.report) == (("dent", "scratch"), "Look well.", {"type": "boolean"})
    assert '{"type": "boolean"}' in own.system_text()
    assert own.properties()["report"] == {"type": "boolean"}


def test_a_camera_may_see_another_way_than_the_others() -> None:
    config = Config(
        inspect=InspectConfig(any_way_up=False),
        cameras={"belt": CameraConfig("mqtt"), "table": CameraConfig("mqtt", any_way_up=True)},
    )
    assert [inspection_task(config, camera).any_way_up for camera in ("belt", "table")] == [False, True]


def test_a_part_with_an_up_and_a_down_is_another_task() -> None:
    free, fixed = (
        inspection_task(Config(inspect=InspectConfig(any_way_up=value), cameras={"cam0": CameraConfig("mqtt")}), "cam0")
        for value in (True, False)
    )
    assert (free.any_way_up, fixed.any_way_up) == (True, False)
    assert task_digest(free) != task_digest(fixed)


def test_a_station_replaces_the_way_its_model_is_asked(tmp_path: Path, default_engine: Engine) -> None:
    """Which a model of bounds was not taught."""
    file = tmp_path / "ask.toml"
    settings = InspectConfig(part="ball screw", template="ask.toml")
    config = Config(inspect=settings, cameras={"cam0": CameraConfig("mqtt")}, folder=tmp_path)
    file.write_text('task = "Find {defects}."\nreasoning_characters = 80\n')
    task = inspection_task(config, "cam0")
    assert task.system_text() == "Find pitting."
    assert next(iter(task.properties())) == "reasoning"
    assert "`inspect.template`" in Inspector(default_engine, task).not_taught
    for text, said in (("task = 1", "`task`"), ("tasks = 'x'", "`tasks`"), ("task =", "is not TOML")):
        file.write_text(text)
        with pytest.raises(ConfigError, match=r"`inspect.template`: .*ask.toml.*" + said):
            inspection_task(config, "cam0")
