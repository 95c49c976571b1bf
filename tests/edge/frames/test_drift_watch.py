"""A station that has learnt says on MQTT when its pictures change, and when they are as before."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from lineside.edge.command_line import main as cli
from lineside.edge.daemon import Daemon
from lineside.edge.degraded import Degraded
from lineside.edge.errors import ConfigError
from lineside.edge.frames.drift_watch import DriftWatch, sentence_of
from lineside.edge.inspect_config import InspectConfig
from lineside.edge.inspection.usual_file import read_usual, write_usual
from lineside.edge.inspection.watched import WatchedFor
from lineside.edge.metrics import registry_of
from lineside.edge.wire.store import Outgoing
from lineside.runtime.chat import Picture
from lineside.runtime.inspection.drift import PICTURES, Drift, DriftFigures, GateUsual
from lineside.runtime.inspection.observation import Inspection, nothing_shown
from lineside.runtime.inspection.picture_figures import figures_of
from lineside.runtime.inspection.usual import Usual, usual_of
from lineside.runtime.picture import decode_picture
from lineside.runtime.timings import Counts, Timings
from tests.support.broker import Mosquitto
from tests.support.changes import blurred, lit, moved
from tests.support.client import Client, Received
from tests.support.station import TOPICS, station

PASSED = Inspection("pass", 1.0, 0.0, (), "stop", Timings(), Counts())


@pytest.fixture(scope="module")
def usual(pictures: list[Path]) -> Usual:
    photograph = decode_picture(pictures[0].read_bytes())
    return usual_of([figures_of(lit(photograph, share)) for share in (0.95, 1.0, 1.02, 1.05)], 0.2)


class Told:
    """A watch, and what it says."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.degraded = Degraded()
        self.watch = DriftWatch(TOPICS, self._send, self.degraded)

    def _send(self, message: Outgoing) -> None:
        assert message.topic == TOPICS.event("cam0")
        self.events.append(json.loads(message.payload))

    def see(self, picture: Picture, times: int = PICTURES) -> None:
        for _ in range(times):
            self.watch.see("cam0", picture, PASSED)

    @property
    def kinds(self) -> list[tuple[str, str]]:
        return [(event["event_type"], event["error"]["code"]) for event in self.events]


@pytest.mark.parametrize(
    ("change", "code", "says"),
    [
        (
            lambda picture: lit(picture, 0.5),
            "light_changed",
            "times as bright as those it learnt from: see to the light",
        ),
        (lambda picture: blurred(picture, 2), "focus_changed", "are blurred, unlike those it learnt from: see to the"),
        (lambda picture: moved(picture, 10, -6), "camera_moved", "10 pixels further to the right and 6 pixels further"),
        (lambda picture: np.ascontiguousarray(picture[::-1]), "camera_moved", "show something else than those"),
    ],
)
def test_a_change_is_said_once_and_so_is_its_end(
    usual: Usual, pictures: list[Path], change: Callable[[Picture], Picture], code: str, says: str
) -> None:
    told, photograph = Told(), decode_picture(pictures[0].read_bytes())
    told.watch.exchange({"cam0": WatchedFor(usual, None)})
    told.see(photograph)
    assert told.events == []
    told.see(change(photograph), 3 * PICTURES)
    assert told.kinds == [("pictures_changed", code)]
    (sentence,) = told.degraded.sentences()
    assert sentence == told.events[0]["error"]["message"]
    assert says in sentence
    assert "run `lineside learn` or `lineside calibrate` again" in sentence
    told.see(photograph, 3 * PICTURES)
    assert told.kinds == [("pictures_changed", code), ("pictures_as_before", code)]
    assert told.degraded.sentences() == []


def test_a_camera_that_learns_anew_begins_anew(usual: Usual, pictures: list[Path]) -> None:
    told, dark = Told(), lit(decode_picture(pictures[0].read_bytes()), 0.5)
    told.watch.exchange({"cam0": WatchedFor(usual, None)})
    told.see(dark)
    told.watch.exchange({"cam0": WatchedFor(usual, None)})  # another station file with the same camera
    assert len(told.degraded.sentences()) == 1
    again = usual_of([figures_of(lit(dark, share)) for share in (0.95, 1.0, 1.05)], 0.2)
    told.watch.exchange({"cam0": WatchedFor(again, None)})
    assert told.degraded.sentences() == []
    assert told.kinds == [("pictures_changed", "light_changed"), ("pictures_as_before", "light_changed")]
    told.see(dark)
    assert len(told.events) == 2
    assert told.watch.figures()["cam0"].brightness == pytest.approx(1, abs=0.05)
    told.watch.exchange({})
    told.see(lit(dark, 0.5))
    assert told.watch.figures() == {}


def test_a_black_picture_is_dark_and_no_moved_camera(usual: Usual, pictures: list[Path]) -> None:
    told, photograph = Told(), decode_picture(pictures[0].read_bytes())
    told.watch.exchange({"cam0": WatchedFor(usual, None)})
    for _ in range(PICTURES):
        told.watch.see("cam0", np.zeros_like(photograph), nothing_shown("the picture is black"))
    assert told.kinds == [("pictures_changed", "light_changed")]


def test_scores_and_doubts_are_said_with_their_figures(usual: Usual) -> None:
    drift = Drift(usual, GateUsual(50.0, 60.0, 0.2))
    drift.figures = DriftFigures(gate_score=71.3, unsure=0.62)
    assert "scores are around 71.3, and 60 is the bound" in sentence_of("cam0", "gate_score", drift)
    assert "62% of the pictures of cam0 are `unsure`, and 20% were expected" in sentence_of("cam0", "unsure", drift)


def test_the_file_keeps_what_is_usual(usual: Usual, tmp_path: Path) -> None:
    path = tmp_path / "x.usual.npz"
    assert read_usual(path) is None
    write_usual(path, usual)
    again = read_usual(path)
    assert again is not None
    assert again == usual
    np.testing.assert_array_equal(again.small, usual.small)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ConfigError, match="is damaged"):
        read_usual(path)
    np.savez(path, format=np.asarray("lineside.usual/0"))
    with pytest.raises(ConfigError, match="is of another version of Lineside: run `lineside learn`"):
        read_usual(path)


def show(client: Client, picture: bytes) -> None:
    for _ in range(PICTURES):
        client.publish(TOPICS.frame("cam0"), picture)


def light(message: Received) -> str:
    """What kind of event about the light it is; empty where it is none."""
    if message.topic != TOPICS.event("cam0"):
        return ""
    event = message.json()
    return str(event["event_type"]) if event["error"]["code"] == "light_changed" else ""


def test_a_station_says_that_it_is_dark_and_that_it_is_light_again(
    tmp_path: Path, pictures: list[Path], broker: Mosquitto, client: Client
) -> None:
    good, photograph = tmp_path / "good", decode_picture(pictures[0].read_bytes())[::2, ::2]
    good.mkdir()
    for number in range(6):
        cv2.imwrite(str(good / f"{number}.png"), moved(lit(photograph, 0.95 + number / 60), number % 2, 0)[..., ::-1])
    (tmp_path / "station.toml").write_text('[cameras.cam0]\nkind = "mqtt"\n')
    assert cli.main(["learn", str(tmp_path / "station.toml"), str(good)]) == 0
    as_learnt = (good / "2.png").read_bytes()
    dark = cv2.imencode(".png", lit(photograph, 0.5)[..., ::-1])[1].tobytes()
    # another part than the model was taught: what the gate doubts is `unsure` at once
    config = dataclasses.replace(station(broker.port, tmp_path), inspect=InspectConfig(max_age_s=3600.0))
    with Daemon(config) as daemon:
        assert daemon.wait_online(60)
        show(client, dark)
        client.wait_for(lambda m: m.topic == TOPICS.info and any("as bright" in each for each in m.json()["degraded"]))
        show(client, as_learnt)
        client.wait_for(lambda m: light(m) == "pictures_as_before")
        assert not any("as bright" in each for each in daemon.degraded.sentences())
        client.on(TOPICS.result("cam0"), 2 * PICTURES)
        health = daemon.figures.health()
        metric = registry_of(daemon.figures.health).get_sample_value("lineside_picture_brightness", {"camera": "cam0"})
    assert [kind for m in client.received if (kind := light(m))] == ["pictures_changed", "pictures_as_before"]
    assert health.pictures["cam0"].brightness == metric == pytest.approx(1, abs=0.1)
