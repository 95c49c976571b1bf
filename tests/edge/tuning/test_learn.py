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
from lineside.edge.inspection.usual_file import read_usual
from lineside.edge.inspection.watched import open_watched
from lineside.edge.station_file import load_config
from lineside.runtime.chat import Picture
from lineside.runtime.engine.engine import Engine
from lineside.runtime.inspection.gated import GatedInspector
from lineside.runtime.inspection.preparation import Preparation
from lineside.runtime.picture import decode_picture
from tests.support.broker import Mosquitto
from tests.support.client import Client
from tests.support.gates import features, small, small_memory
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
    assert "watched     light, focus, and whether the camera moves by more than 5 pixels" in said
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
        ("", ["--false-alarms", "0.7"], "--false-alarms is from 0.001 to 0.3, not 0.7"),
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
    with config.gate_path("cam0").open("wb") as file:
        np.savez(file, format=np.asarray("lineside.gate/2"), bundle_sha256=np.asarray("of before"))
    config.gate_path("cam1").write_bytes(b"PK\x03\x04 cut off")
    inspectors, degraded = open_inspectors(config, default_engine)
    assert not any(isinstance(inspector, GatedInspector) for inspector in inspectors.values())
    assert len(degraded) == 2
    assert "of another version of Lineside: run `lineside learn` again" in degraded[0]
    assert "is damaged" in degraded[1]


def test_the_file_keeps_what_was_learnt(tmp_path: Path) -> None:
    patches = np.random.default_rng(0).normal(size=(30, 152)).astype(np.float32)
    memory = small_memory(patches=patches, bad_scores=np.asarray([3.0], np.float32))
    write_gate(tmp_path / "x.gate.npz", memory)
    again = read_gate(tmp_path / "x.gate.npz", memory.features_sha256)
    assert again is not None
    np.testing.assert_allclose(again.patches, patches, atol=2e-3)
    assert (again.pass_below, again.fail_above, again.false_alarms) == (1.2, 1.5, 0.02)
    assert again.bad_scores.tolist() == [3.0]
    assert read_gate(tmp_path / "none.npz", memory.features_sha256) is None


@pytest.fixture
def connectors(tmp_path: Path) -> Path:
    folder = tmp_path / "connectors"
    (folder / "bad").mkdir(parents=True)
    for index, part in enumerate(small("connector", 10, False)):
        cv2.imwrite(str(folder / f"{index}.png"), part[..., ::-1])
    return folder


def show_bad(folder: Path, parts: list[Picture]) -> None:
    for index, part in enumerate(parts):
        cv2.imwrite(str(folder / "bad" / f"{index}.png"), part[..., ::-1])


def test_bad_pictures_set_the_other_end(
    station_file: Path, connectors: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["learn", str(station_file), str(connectors)]) == 0
    assert "bad         none shown" in capsys.readouterr().out
    before = read_gate(station_file.with_name("press4.cam0.gate.npz"), features().sha256)
    show_bad(connectors, small("connector", 3, True))
    assert cli.main(["learn", str(station_file), str(connectors)]) == 0
    said = capsys.readouterr().out
    assert "3 of them fail" in said
    assert "AUROC 1.00" in said
    after = read_gate(station_file.with_name("press4.cam0.gate.npz"), features().sha256)
    assert before is not None
    assert after is not None
    assert after.pass_below == before.pass_below
    assert len(after.bad_scores) == 3


def test_good_and_bad_that_cannot_be_told_apart_are_said_to_be(
    station_file: Path, connectors: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    show_bad(connectors, small("connector", 14, False)[10:])
    assert cli.main(["learn", str(station_file), str(connectors)]) == 0
    said = capsys.readouterr().out
    assert "good and bad pictures cannot be told apart" in said
    assert "passes      up to 0.000" in said


def test_a_bad_picture_among_the_good_ones_is_named(
    station_file: Path, connectors: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for index, part in enumerate(small("connector", 14, False)[10:], 10):
        cv2.imwrite(str(connectors / f"{index}.png"), part[..., ::-1])
    cv2.imwrite(str(connectors / "odd.png"), small("connector", 1, True)[0][..., ::-1])
    assert cli.main(["learn", str(station_file), str(connectors)]) == 0
    said = capsys.readouterr().out
    assert "learnt      14 good pictures" in said
    assert "left out    odd.png (" in said


def test_more_false_alarms_leave_less_unsure(station_file: Path, connectors: Path) -> None:
    path, ends = station_file.with_name("press4.cam0.gate.npz"), []
    for share in ("0.01", "0.1"):
        assert cli.main(["learn", str(station_file), str(connectors), "--false-alarms", share]) == 0
        gate = read_gate(path, features().sha256)
        assert gate is not None
        ends.append(gate.fail_above)
    assert ends[1] < ends[0]


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


def test_a_gate_knows_which_part_of_the_frame_it_learnt(station_file: Path, good: Path, default_engine: Engine) -> None:
    """Learnt, inspected and watched is the same part; another part, or another way up, makes it unusable."""
    parts = '[cameras.cam0]\nkind = "mqtt"\nrotate = 180\nregion = [100, 20, 300, 200]\n'
    station_file.write_text(parts)
    assert cli.main(["learn", str(station_file), str(good)]) == 0
    learnt, config = station_file.with_name("press4.cam0.gate.jpg"), load_config(station_file, {})
    (inspector,) = open_inspectors(config, default_engine)[0].values()
    frame = np.ascontiguousarray(np.rot90(decode_picture((good / "4.png").read_bytes()), 2))
    frame[:20] = 0
    found = inspector.inspect(frame)
    assert (found.verdict, found.decided_by) == ("pass", "gate")
    assert read_usual(config.usual_path("cam0"), Preparation(180, (100, 20, 300, 200))) is not None
    assert learnt.exists()
    for other, said in (("rotate = 0", "`rotate` 0"), ("region = [100, 20, 300, 201]", "[100, 20, 300, 201]")):
        key = other.partition(" ")[0]
        kept = [line for line in parts.splitlines() if not line.startswith(key)]
        station_file.write_text("\n".join([*kept, other]))
        config = load_config(station_file, {})
        inspectors, degraded = open_inspectors(config, default_engine)
        assert not isinstance(inspectors["cam0"], GatedInspector)
        assert "[100, 20, 300, 200] and `rotate` 180, and the station file says" in degraded[0]
        assert said in degraded[0]
        assert "run `lineside learn` again" in degraded[0]
        assert "press4.cam0.usual.npz is of pictures with" in open_watched(config, inspectors)[1][0]


def test_cameras_that_look_at_other_parts_learn_one_by_one(
    station_file: Path, good: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    station_file.write_text(STATION + "rotate = 90\n")
    assert cli.main(["learn", str(station_file), str(good)]) != 0
    assert "choose one with --camera (cam0, cam1)" in capsys.readouterr().err
