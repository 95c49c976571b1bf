"""`lineside learn`, and the daemon that takes it up."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pytest

from lineside.edge.command_line import main as cli
from lineside.edge.daemon import Daemon
from lineside.edge.inspection.gate_file import read_gate, write_gate
from lineside.edge.inspection.inspectors import open_inspectors
from lineside.edge.station_file import load_config
from lineside.runtime.engine.engine import Engine
from lineside.runtime.inspection.gate import GateMemory
from lineside.runtime.inspection.gated import GatedInspector
from lineside.runtime.picture import decode_picture
from tests.support.broker import Mosquitto
from tests.support.client import Client
from tests.support.station import TOPICS, station

STATION = '[cameras.cam0]\nkind = "mqtt"\n[cameras.cam1]\nkind = "mqtt"\n'


@pytest.fixture
def station_file(tmp_path: Path) -> Path:
    path = tmp_path / "press4.toml"
    path.write_text(STATION)
    return path


@pytest.fixture
def good(tmp_path: Path, pictures: list[Path]) -> Path:
    folder = tmp_path / "good"
    folder.mkdir()
    picture = cv2.imread(str(pictures[0]))
    assert picture is not None
    rng = np.random.default_rng(0)
    for index in range(10):
        view = np.clip(np.roll(picture, index % 3, 1) * rng.uniform(0.95, 1.05), 0, 255).astype(np.uint8)
        cv2.imwrite(str(folder / f"{index}.png"), view)
    return folder


def test_pictures_in_16_bits_teach_what_their_8_bits_do(station_file: Path, good: Path, tmp_path: Path) -> None:
    """As an industrial camera writes them. They were all white, and one picture."""
    deep = tmp_path / "deep"
    deep.mkdir()
    for path in good.iterdir():
        grey = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        assert grey is not None
        cv2.imwrite(str(path), grey)
        cv2.imwrite(str(deep / path.name), grey.astype(np.uint16) * 257)
    scores = []
    for folder in (good, deep):
        assert cli.main(["learn", str(station_file), str(folder)]) == 0
        with np.load(station_file.with_name("press4.cam0.gate.npz"), allow_pickle=False) as learnt:
            scores.append(learnt["good_scores"])
    np.testing.assert_allclose(scores[0], scores[1], rtol=1e-5)


def test_learnt_pictures_become_a_gate_for_every_camera(
    station_file: Path, good: Path, default_engine: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    (good / "broken.jpg").write_bytes(b"not a picture")
    assert cli.main(["learn", str(station_file), str(good)]) == 0
    said = capsys.readouterr().out
    assert "learnt      10 good pictures for cam0, cam1" in said
    assert "skipped     1 pictures" in said
    assert decode_picture(station_file.with_name("press4.cam0.gate.jpg").read_bytes()).shape[1] == 3 * 360
    inspectors, degraded = open_inspectors(load_config(station_file, {}), default_engine)
    assert degraded == []
    assert all(isinstance(inspector, GatedInspector) for inspector in inspectors.values())
    found = inspectors["cam1"].inspect(decode_picture((good / "4.png").read_bytes()))
    assert (found.verdict, found.decided_by) == ("pass", "gate")


def test_one_camera(station_file: Path, good: Path, default_engine: Engine) -> None:
    assert cli.main(["learn", str(station_file), str(good), "--camera", "cam1"]) == 0
    inspectors, _ = open_inspectors(load_config(station_file, {}), default_engine)
    assert not isinstance(inspectors["cam0"], GatedInspector)
    assert isinstance(inspectors["cam1"], GatedInspector)


@pytest.mark.parametrize(
    ("change", "arguments", "message"),
    [
        ("", ["--camera", "cam7"], "there is no camera 'cam7'; the station has cam0, cam1"),
        ("empty", [], "has no pictures"),
        ("gone", [], "cannot be read"),
        ("same", [], "1 different good pictures"),
        ("three", [], "3 different good pictures; at least 5 are needed"),
    ],
)
def test_what_cannot_be_learnt(
    station_file: Path, good: Path, capsys: pytest.CaptureFixture[str], change: str, arguments: list[str], message: str
) -> None:
    if change == "gone":
        good = good.with_name("nowhere")
    elif change == "same":
        for path in good.iterdir():
            path.write_bytes((good / "0.png").read_bytes())
    elif change:
        for path in sorted(good.iterdir())[0 if change == "empty" else 3 :]:
            path.unlink()
    assert cli.main(["learn", str(station_file), str(good), *arguments]) in (1, 2)
    assert message in capsys.readouterr().err
    assert not list(station_file.parent.glob("*.gate.npz"))


def test_a_gate_that_cannot_be_used_is_told_and_left(station_file: Path, default_engine: Engine) -> None:
    config = load_config(station_file, {})
    config = dataclasses.replace(config, inspect=dataclasses.replace(config.inspect, part="ball screw"))
    memory = GateMemory(np.zeros((4, 5), np.float32), np.asarray([1.0, 1.1], np.float32), 384)
    write_gate(config.gate_path("cam0"), memory, "another model")
    config.gate_path("cam1").write_bytes(b"PK\x03\x04 cut off")
    inspectors, degraded = open_inspectors(config, default_engine)
    assert not any(isinstance(inspector, GatedInspector) for inspector in inspectors.values())
    assert len(degraded) == 2
    assert "learnt with another model: run `lineside learn` again" in degraded[0]
    assert "is damaged" in degraded[1]


def test_the_file_keeps_what_was_learnt(tmp_path: Path, default_engine: Engine) -> None:
    bundle = default_engine.bundle
    rng = np.random.default_rng(0)
    patches = rng.normal(size=(30, 6)).astype(np.float32)
    memory = GateMemory(patches, np.asarray([0.2, 0.3, 0.25], np.float32), 384)
    write_gate(tmp_path / "x.gate.npz", memory, bundle.sha256)
    again = read_gate(tmp_path / "x.gate.npz", bundle)
    assert again is not None
    np.testing.assert_allclose(again.patches, patches, atol=2e-3)
    assert (again.pass_below, again.fail_above, again.longest) == (memory.pass_below, memory.fail_above, 384)
    assert read_gate(tmp_path / "none.npz", bundle) is None


def test_results_say_what_the_gate_saw(tmp_path: Path, good: Path, broker: Mosquitto, client: Client) -> None:
    path = tmp_path / "station.toml"
    path.write_text('[cameras.cam0]\nkind = "mqtt"\n')
    assert cli.main(["learn", str(path), str(good)]) == 0
    with Daemon(station(broker.port, tmp_path)) as daemon:
        assert daemon.wait_online(10)
        client.publish(TOPICS.frame("cam0"), (good / "2.png").read_bytes())
        result = client.on(TOPICS.result("cam0"))[0].json()
    assert result["decided_by"] == "gate"
    assert result["verdict"] == "pass"
    assert result["gate"]["score"] <= result["gate"]["pass_below"] < result["gate"]["fail_above"]
    assert len(result["gate"]["region"]) == 4
    assert result["timing_ms"]["gate"] > 0
    assert result["timing_ms"]["prefill"] == 0
