"""`lineside calibrate` on real pictures, and the daemon that takes it up."""

from __future__ import annotations

import copy
import dataclasses
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from lineside.edge.camera_config import CameraConfig
from lineside.edge.command_line import main as cli
from lineside.edge.config import Config
from lineside.edge.daemon import Daemon
from lineside.edge.errors import ConfigError
from lineside.edge.inspection.calibration_file import read_calibrations
from lineside.edge.inspection.evidence import encode_jpeg
from lineside.edge.inspection.inspectors import open_inspectors
from lineside.edge.inspection.usual_file import read_usual
from lineside.edge.station_file import load_config
from lineside.edge.tuning.calibrate import calibrate
from lineside.edge.tuning.calibration_report import lines
from lineside.runtime.defaults import DEFAULT_BUNDLE
from lineside.runtime.engine.engine import Engine
from lineside.runtime.inspection.calibration import Costs
from lineside.runtime.inspection.inspector import Inspector
from lineside.runtime.inspection.threshold_choice import LOOK_AT_EACH, Zones
from lineside.runtime.inspection.verdict import fail_probability
from lineside.runtime.picture import decode_picture
from tests.support.broker import Mosquitto
from tests.support.client import Client
from tests.support.station import TOPICS, station

STATION = """
[inspect]
defect_types = ["pitting"]
part = "ball screw"
[cameras.cam0]
kind = "mqtt"
[cameras.cam1]
kind = "mqtt"
"""


SHRUNK = 0.7
"""Of each side: looked at in half the time, and the model still sees the defects, which at 0.5 it does not."""


def by_label(pictures: list[Path], folder: Path) -> Path:
    """The repository's dozen, shrunk, each in the folder of its label."""
    labels = json.loads((pictures[0].parent.parent / "labels.json").read_text())
    for path in pictures:
        to = folder / labels[path.name]["verdict"]
        to.mkdir(parents=True, exist_ok=True)
        picture = decode_picture(path.read_bytes())
        shrunk = cv2.resize(picture, None, fx=SHRUNK, fy=SHRUNK, interpolation=cv2.INTER_AREA)
        (to / path.name).write_bytes(encode_jpeg(np.asarray(shrunk, np.uint8)))
    return folder


@pytest.fixture
def labelled(tmp_path: Path, pictures: list[Path]) -> Path:
    return by_label(pictures, tmp_path / "labelled")


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory, pictures: list[Path]) -> dict[str, Any]:
    """What `lineside calibrate` writes for both cameras."""
    folder = tmp_path_factory.mktemp("fitted")
    path = folder / "press4.toml"
    path.write_text(STATION)
    assert run(path, by_label(pictures, folder / "labelled")) == 0
    body: dict[str, Any] = json.loads(path.with_name("press4.calibration.json").read_text())
    return body


@pytest.fixture
def station_file(tmp_path: Path) -> Path:
    path = tmp_path / "press4.toml"
    path.write_text(STATION)
    return path


def run(station_file: Path, folder: Path, *more: str) -> int:
    return cli.main(["calibrate", str(station_file), str(folder), *more])


def test_pictures_in_probabilities_and_a_plot_out(
    station_file: Path, labelled: Path, capsys: pytest.CaptureFixture[str], default_engine: Engine, pictures: list[Path]
) -> None:
    assert run(station_file, labelled, "--missed-defect-costs", "20", "--look-costs", "0.5") == 0
    said = capsys.readouterr().out
    assert "expected calibration error" in said
    assert "A missed defect costs 20 false alarms, a look 0.5" in said
    assert "take these figures as a hint" in said
    plot = station_file.with_name("press4.calibration.png")
    assert decode_picture(plot.read_bytes()).shape[2] == 3
    fitted = read_calibrations(station_file.with_name("press4.calibration.json"))
    assert set(fitted) == {"cam0", "cam1"}
    usual = [read_usual(station_file.with_name(f"press4.{name}.usual.npz")) for name in fitted]
    assert usual[0] is not None
    assert usual[0] == usual[1]
    assert 0 < usual[0].unsure <= 1
    entry = fitted["cam0"]
    assert entry.pass_below == 0  # six good pictures cannot vouch for a `pass`
    assert "`pass` needs 61 good pictures" in said
    assert "looking at every picture costs    0.500 a picture" in said
    assert entry.good_pictures + entry.defective_pictures == 12
    inspectors, degraded = open_inspectors(load_config(station_file, {}), default_engine)
    assert degraded == []
    inspector = inspectors["cam0"]
    assert isinstance(inspector, Inspector)
    picture = decode_picture(pictures[0].read_bytes())
    raw = fail_probability(inspector.probabilities(picture))
    inspection = inspector.inspect(picture)
    several_tokens_a_pass = 2e-2
    assert inspection.fail_probability == pytest.approx(entry.calibration(raw), abs=several_tokens_a_pass)
    assert inspection.fail_probability != pytest.approx(raw, abs=several_tokens_a_pass)


def test_one_camera_keeps_what_the_other_has(station_file: Path, labelled: Path) -> None:
    assert run(station_file, labelled, "--camera", "cam0") == 0
    assert run(station_file, labelled, "--camera", "cam1", "--missed-defect-costs", "99") == 0
    fitted = read_calibrations(station_file.with_name("press4.calibration.json"))
    assert [fitted[name].missed_defect_costs for name in ("cam0", "cam1")] == [10, 99]
    for name in ("cam0", "cam1"):
        assert station_file.with_name(f"press4.calibration.{name}.png").is_file()


def test_the_report_never_costs_more_than_looks(station_file: Path, labelled: Path) -> None:
    report = calibrate(load_config(station_file, {}), labelled, "", Costs())
    assert report.after.decisions.cost <= report.costs.look
    text = "\n".join(lines(report))
    assert "on which 50% of the parts are defective" in text
    assert f"with it                           {report.after.decisions.cost:.3f}" in text
    told = lines(dataclasses.replace(report, zones=Zones(*LOOK_AT_EACH), more=None))
    assert any("No picture will be `pass or fail`" in line for line in told)
    assert any("More pictures like these would not change the cost" in line for line in told)
    (more,) = (line for line in lines(dataclasses.replace(report, more=(60, 0.1))) if "more pictures like" in line)
    assert "About 60 more" in more


def test_without_matplotlib_the_file_is_written_all_the_same(
    station_file: Path, labelled: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "lineside.edge.tuning.reliability_plot", raising=False)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert run(station_file, labelled) == 0
    assert "pip install 'lineside[plot]'" in capsys.readouterr().out
    assert read_calibrations(station_file.with_name("press4.calibration.json"))
    assert not list(station_file.parent.glob("*.png"))


def test_a_plot_that_cannot_be_written_is_told(
    station_file: Path, labelled: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    station_file.with_name("press4.calibration.png").mkdir()
    assert run(station_file, labelled) == 1
    assert "press4.calibration.png cannot be written" in capsys.readouterr().err
    assert read_calibrations(station_file.with_name("press4.calibration.json"))


def test_a_labels_file_and_a_bad_picture(
    station_file: Path, labelled: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        json.dumps({"image": str(path.relative_to(labelled)), "verdict": path.parent.name, "position": "x"})
        for path in sorted(labelled.glob("*/*.jpg"))
    ]
    (labelled / "labels.jsonl").write_text("\n".join(rows) + "\n")
    (labelled / json.loads(rows[0])["image"]).write_bytes(b"not a picture")
    assert run(station_file, labelled) == 0
    said = capsys.readouterr()
    assert "1 left out" in said.out
    assert "is left out" in said.err


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"bundle_sha256": "0" * 64}, "another model"),
        ({"task_sha256": "0" * 64}, "other defect types"),
    ],
)
def test_a_calibration_for_something_else_is_not_used(
    station_file: Path, fitted: dict[str, Any], default_engine: Engine, change: dict[str, str], reason: str
) -> None:
    body = copy.deepcopy(fitted)
    body["cameras"]["cam0"] |= change
    station_file.with_name("press4.calibration.json").write_text(json.dumps(body))
    inspectors, degraded = open_inspectors(load_config(station_file, {}), default_engine)
    (problem,) = degraded
    assert "cam0" in problem
    assert reason in problem
    assert "lineside calibrate" in problem
    assert inspectors["cam0"].calibration is None
    assert inspectors["cam1"].calibration is not None


def test_crossed_thresholds_are_damage(station_file: Path, fitted: dict[str, Any], default_engine: Engine) -> None:
    body = copy.deepcopy(fitted)
    body["cameras"]["cam0"] |= {"pass_below": 0.9, "fail_above": 0.1}
    station_file.with_name("press4.calibration.json").write_text(json.dumps(body))
    inspectors, degraded = open_inspectors(load_config(station_file, {}), default_engine)
    assert "cam0" in degraded[0]
    assert inspectors["cam0"].calibration is None


@pytest.mark.parametrize("content", ["{", "[]", '{"cameras": {"cam0": {"scale": -1}}}', '{"cameras": {"cam0": 5}}'])
def test_a_damaged_file_degrades_and_does_not_stop(station_file: Path, default_engine: Engine, content: str) -> None:
    station_file.with_name("press4.calibration.json").write_text(content)
    inspectors, degraded = open_inspectors(load_config(station_file, {}), default_engine)
    assert "damaged" in degraded[0]
    assert inspectors["cam0"].calibration is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"image": "a.jpg", "verdict": "maybe"}', "labels.jsonl:1: the verdict is pass or fail, not 'maybe'"),
        ('{"image": "missing.jpg", "verdict": "pass"}', "there is no picture missing.jpg"),
        ('{"verdict": "pass"}', "labels.jsonl:1: not a line such as"),
        ("[1]", "not a line such as"),
        ("{", "not a line such as"),
        pytest.param("[" * 100_000, "not a line such as", id="nested"),
        pytest.param(
            f'{{"image": "{"a" * 300}", "verdict": "pass"}}', "cannot be read (File name too long)", id="long"
        ),
        ("", "no labelled pictures"),
    ],
)
def test_bad_labels_name_the_line(
    station_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str, message: str
) -> None:
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "labels.jsonl").write_text(content)
    assert run(station_file, folder) == 2
    assert message in capsys.readouterr().err


def test_too_few_pictures_a_missing_folder_and_an_unknown_camera(
    station_file: Path, labelled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(station_file, tmp_path / "none") == 2
    assert "is not a folder" in capsys.readouterr().err
    assert run(station_file, tmp_path / ("a" * 300)) == 2
    assert "cannot be read" in capsys.readouterr().err
    assert run(station_file, labelled, "--camera", "cam9") == 2
    assert "it has cam0, cam1" in capsys.readouterr().err
    assert run(station_file, labelled, "--missed-defect-costs", "-1") == 2
    shutil.rmtree(labelled / "fail")
    assert run(station_file, labelled) == 2
    assert "has 0 readable pictures labelled fail; at least 5 are needed" in capsys.readouterr().err


def test_too_few_pictures_are_refused_before_the_model_is_loaded(station_file: Path, labelled: Path) -> None:
    shutil.rmtree(labelled / "pass")
    hollow = station_file.parent / "hollow"  # a manifest alone: loading it would fail
    hollow.mkdir()
    shutil.copy(DEFAULT_BUNDLE / "bundle.json", hollow)
    station_file.write_text(STATION + '[model]\nbundle = "hollow"\n')
    with pytest.raises(ConfigError, match="0 readable pictures labelled pass"):
        calibrate(load_config(station_file, {}), labelled, "", Costs())


def test_results_and_info_say_whether_they_are_calibrated(
    broker: Mosquitto, client: Client, tmp_path: Path, labelled: Path
) -> None:
    """Two cameras on a running daemon: one calibrated, the other's calibration is for another model."""
    config = station(broker.port, tmp_path, cameras={"cam0": CameraConfig("mqtt"), "cam1": CameraConfig("mqtt")})
    report = calibrate(config, labelled, "", Costs(20, 0.25))
    body = json.loads(report.path.read_text())
    body["cameras"]["cam1"]["bundle_sha256"] = "0" * 64
    report.path.write_text(json.dumps(body))
    picture = sorted((labelled / "fail").glob("*.jpg"))[0].read_bytes()
    with Daemon(config) as daemon:
        assert daemon.wait_online(10)
        for camera in ("cam0", "cam1"):
            client.publish(TOPICS.frame(camera), picture)
        calibrated, raw = (client.on(TOPICS.result(camera))[0].json() for camera in ("cam0", "cam1"))
        (problem,) = client.on(TOPICS.info)[0].json()["degraded"]
    assert (calibrated["calibrated"], raw["calibrated"]) == (True, False)
    # The second frame finds the instruction in the cache: other activations round to other values.
    assert calibrated["fail_probability"] == pytest.approx(report.calibration(raw["fail_probability"]), abs=0.03)
    assert abs(calibrated["fail_probability"] - raw["fail_probability"]) > 0.05
    assert "cam1" in problem
    assert "another model" in problem


def test_cameras_that_look_for_different_things_are_told_apart(station_file: Path, labelled: Path) -> None:
    station_file.write_text(STATION + 'instruction = "Look well."\n')
    config: Config = load_config(station_file, {})
    with pytest.raises(ConfigError, match=r"choose one with --camera \(cam0, cam1\)"):
        calibrate(config, labelled, "", Costs())
