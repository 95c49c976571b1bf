from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from lineside.edge.camera_config import CameraConfig
from lineside.edge.config import Config
from lineside.edge.errors import ConfigError
from lineside.edge.inspect_config import InspectConfig
from lineside.edge.inspection.calibration_file import task_digest
from lineside.edge.inspection.tasks import inspection_task
from lineside.runtime.engine.engine import Engine
from lineside.runtime.inspection.inspector import Inspector
from lineside.runtime.inspection.preparation import Preparation


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


def test_a_reference_of_a_kind_that_is_not_read_names_its_key(tmp_path: Path) -> None:
    (tmp_path / "good.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    config = Config(cameras={"cam0": CameraConfig("mqtt", reference="good.heic")}, folder=tmp_path)
    told = r"`cameras.cam0.reference`: .*good.heic: HEIC is not read: save it as JPEG or PNG"
    with pytest.raises(ConfigError, match=told):
        inspection_task(config, "cam0")


def test_reference_and_examples_are_made_ready_as_frames_are(tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 255, (40, 60, 3), np.uint8)
    (tmp_path / "shown" / "pass").mkdir(parents=True)
    for path in ("good.png", "shown/pass/a.png"):
        cv2.imwrite(str(tmp_path / path), picture[:, :, ::-1])
    region, part = (5, 10, 30, 40), np.rot90(picture, -1)[10:50, 5:35]
    cameras = {
        "with": CameraConfig("mqtt", reference="good.png", rotate=90, region=region),
        "shown": CameraConfig("mqtt", examples="shown", rotate=90, region=region, max_side=448),
        "outside": CameraConfig("mqtt", reference="good.png", region=region),
    }
    config = Config(cameras=cameras, folder=tmp_path)
    beside, shown = inspection_task(config, "with"), inspection_task(config, "shown")
    np.testing.assert_array_equal(beside.reference, part)
    np.testing.assert_array_equal(shown.examples[0].picture, part)
    assert (shown.preparation, shown.max_side) == (Preparation(90, region), 448)
    with pytest.raises(ConfigError, match=r"`cameras.outside.reference`: .*good.png: `region` .* reaches beyond"):
        inspection_task(config, "outside")


@pytest.mark.parametrize("changed", [{"rotate": 180}, {"region": (0, 0, 9, 9)}, {"max_side": 448}])
def test_what_is_shown_otherwise_is_another_task(changed: dict[str, Any]) -> None:
    one, other = (
        inspection_task(Config(cameras={"cam0": CameraConfig("mqtt", **more)}), "cam0") for more in ({}, changed)
    )
    assert task_digest(one) != task_digest(other)


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
