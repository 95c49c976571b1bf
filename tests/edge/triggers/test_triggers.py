"""Triggers of a station: each is taken once, refused with a reason, or begun anew after a kill."""

from __future__ import annotations

import dataclasses
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lineside.devices.errors import LinkError
from lineside.devices.triggers.trigger import Moment
from lineside.edge.camera_config import CameraConfig
from lineside.edge.daemon import Daemon
from lineside.edge.errors import StoreError
from lineside.edge.frames.seen import Seen
from lineside.edge.triggers.sources import SourceThread
from lineside.edge.triggers_config import TriggerConfig
from tests.support.broker import Mosquitto
from tests.support.client import Client, Received
from tests.support.proxy import Proxy
from tests.support.shades import look_at_brightness, shaded
from tests.support.station import TOPICS, station
from tests.support.wait import LIMIT_S, until

EYE = TriggerConfig("mqtt", ("cam0",), wait_s=LIMIT_S)


@pytest.fixture(autouse=True)
def _brightness(monkeypatch: pytest.MonkeyPatch) -> None:
    look_at_brightness(monkeypatch)


@contextmanager
def running(broker: Mosquitto, folder: Path, **triggers: TriggerConfig) -> Iterator[Daemon]:
    with Daemon(station(broker, folder, triggers=triggers or {"eye": EYE})) as daemon:
        assert daemon.wait_online(LIMIT_S)
        yield daemon


def counted(daemon: Daemon, name: str) -> int:
    return daemon.counters.snapshot().get(name, 0)


def results(client: Client) -> list[Received]:
    return [message for message in list(client.received) if message.topic == TOPICS.result("eye")]


def test_a_trigger_is_known_again_by_its_id(broker: Mosquitto, client: Client, tmp_path: Path) -> None:
    """While it waits, and when it was answered: with the same result."""
    body = json.dumps({"id": "1", "part_id": "A"})
    with running(broker, tmp_path) as daemon:
        client.publish(TOPICS.trigger("eye"), body)
        client.publish(TOPICS.trigger("eye"), body)
        until(lambda: counted(daemon, "triggers_duplicate") == 1)
        client.publish(TOPICS.frame("cam0"), shaded("pass"), user={"part_id": "A"})
        client.on(TOPICS.result("eye"))
        client.publish(TOPICS.trigger("eye"), body)
        first, again = client.on(TOPICS.result("eye"), count=2)
        assert counted(daemon, "triggers") == counted(daemon, "results") == 1
    assert first.payload == again.payload


def test_triggers_without_an_id_are_parts_of_their_own(broker: Mosquitto, client: Client, tmp_path: Path) -> None:
    with running(broker, tmp_path) as daemon:
        client.publish(TOPICS.trigger("eye"), b"", user={"part_id": "A"})
        client.publish(TOPICS.trigger("eye"), b"", user={"part_id": "A"})
        until(lambda: counted(daemon, "triggers") == 2)
        client.publish(TOPICS.frame("cam0"), shaded("pass"), user={"part_id": "A"})
        client.publish(TOPICS.frame("cam0"), shaded("fail"), user={"part_id": "A"})
        found = [message.json() for message in client.on(TOPICS.result("eye"), count=2)]
    assert len({result["id"] for result in found}) == 2
    assert [result["verdict"] for result in found] == ["pass", "fail"]
    assert {result["part_id"] for result in found} == {"A"}


@pytest.mark.parametrize(
    ("name", "body", "code"),
    [
        ("eye", "{", "malformed"),
        ("eye", "part 7", "malformed"),
        ("eye", '{"part": 7}', "malformed"),
        ("other", "", "unknown_trigger"),
        ("clock", "", "not_by_message"),
    ],
)
def test_a_trigger_without_a_result_has_an_event(
    broker: Mosquitto, client: Client, tmp_path: Path, name: str, body: str, code: str
) -> None:
    with running(broker, tmp_path, eye=EYE, clock=TriggerConfig("timer", ("cam0",), interval_s=3600.0)) as daemon:
        client.publish(TOPICS.trigger(name), body)
        event = client.on(TOPICS.event(name))[0].json()
        assert counted(daemon, "triggers_rejected") == 1
    assert (event["event_type"], event["trigger"], event["error"]["code"]) == ("trigger_rejected", name, code)
    assert event["trigger_id"]


def test_a_retained_trigger_is_ignored(broker: Mosquitto, client: Client, tmp_path: Path) -> None:
    client.publish(TOPICS.trigger("eye"), '{"part_id": "A"}', retain=True)
    with running(broker, tmp_path) as daemon:
        until(lambda: counted(daemon, "triggers_ignored_retained") == 1)
        assert counted(daemon, "triggers") == 0


def test_more_than_may_wait_are_refused_one_by_one(broker: Mosquitto, client: Client, tmp_path: Path) -> None:
    """Even where they look the same."""
    with running(broker, tmp_path, eye=dataclasses.replace(EYE, max_waiting=2)) as daemon:
        for _ in range(5):
            client.publish(TOPICS.trigger("eye"), "")
        events = [message.json() for message in client.on(TOPICS.event("eye"), count=3)]
        assert counted(daemon, "triggers") == 2
        assert daemon.figures.health().queues["triggers"].waiting == 2
    assert {event["error"]["code"] for event in events} == {"too_many_waiting"}
    assert len({event["id"] for event in events}) == len({event["trigger_id"] for event in events}) == 3


def test_a_camera_without_a_picture_makes_the_verdict_unsure(broker: Mosquitto, client: Client, tmp_path: Path) -> None:
    """It is named in the result and in an event; a `fail` of another camera stands."""
    cameras = {"cam0": CameraConfig("mqtt"), "side": CameraConfig("mqtt")}
    triggers = {"eye": TriggerConfig("mqtt", ("cam0", "side"), wait_s=0.05)}
    with Daemon(station(broker, tmp_path, cameras=cameras, triggers=triggers)) as daemon:
        assert daemon.wait_online(LIMIT_S)
        told: list[Seen] = []
        daemon.pipeline.observers.append(told.append)
        for count, (part, verdict) in enumerate((("A", "pass"), ("B", "fail"), ("C", None)), start=1):
            if verdict is not None:
                client.publish(TOPICS.frame("cam0"), shaded(verdict), user={"part_id": part})  # type: ignore[arg-type]
                until(lambda sent=count: counted(daemon, "frames_received") == sent)  # type: ignore[misc]
            client.publish(TOPICS.trigger("eye"), json.dumps({"part_id": part}))
            until(lambda done=count: len(told) == done)  # type: ignore[misc]
        good, bad, nothing = (message.json() for message in client.on(TOPICS.result("eye"), count=3))
        events = [message.json() for message in client.on(TOPICS.event("eye"), count=4)]
    assert (good["verdict"], bad["verdict"], nothing["verdict"]) == ("unsure", "fail", "unsure")
    assert [(seen.result.id, len(seen.views)) for seen in told] == [(good["id"], 1), (bad["id"], 1), (nothing["id"], 0)]
    assert [one["camera"] for one in good["missing"]] == ["side"]
    assert "side" in good["doubt"]
    assert {(event["event_type"], event["camera"], event["part_id"]) for event in events} == {
        ("view_missing", "side", "A"),
        ("view_missing", "side", "B"),
        ("view_missing", "side", "C"),
        ("view_missing", "cam0", "C"),
    }


def test_what_was_taken_over_is_answered_after_a_kill(broker: Mosquitto, client: Client, tmp_path: Path) -> None:
    """With the picture, where that was not answered either."""
    config = station(broker, tmp_path, triggers={"eye": dataclasses.replace(EYE, wait_s=2.0)})
    with Daemon(config) as daemon:
        assert daemon.wait_online(LIMIT_S)
        for part in ("A", "B"):
            client.publish(TOPICS.trigger("eye"), json.dumps({"id": part, "part_id": part}))
        until(lambda: counted(daemon, "triggers") == 2)
    told: list[Seen] = []
    with Daemon(dataclasses.replace(config, triggers={"eye": EYE})) as again:
        again.pipeline.observers.append(told.append)
        assert again.wait_online(LIMIT_S)
        until(lambda: counted(again, "triggers_resumed") == 2)
        for part in ("B", "A"):
            client.publish(TOPICS.frame("cam0"), shaded("pass"), user={"part_id": part})
        found = [message.json() for message in client.on(TOPICS.result("eye"), count=2)]
        client.publish(TOPICS.trigger("eye"), json.dumps({"id": "A", "part_id": "A"}))
        until(lambda: counted(again, "triggers_duplicate") == 1)
    assert [(result["part_id"], result["verdict"]) for result in found] == [("B", "pass"), ("A", "pass")]
    # Outputs do not move for a part of an earlier run: the clock may have stood still with the station.
    assert [seen.frame.moment_known for seen in told] == [False, False]


class Wire:
    """A source that does what its test says."""

    def __init__(self) -> None:
        self.problem: LinkError | None = LinkError("modbus plc:502, unit 1: cannot be reached")
        self.taken = 0
        self.fires = threading.Semaphore(0)

    def moments(self, stop: threading.Event, stands: Callable[[], None]) -> Iterator[Moment]:
        while not stop.is_set():
            if self.problem is not None:
                raise self.problem
            stands()
            if self.fires.acquire(timeout=0.01):
                yield Moment()
                self.taken += 1


def test_a_source_is_not_told_that_it_was_taken_where_it_was_not(
    broker: Mosquitto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The station has stopped: the PLC asks once more."""
    kept: list[SourceThread] = []
    start = SourceThread.start

    def keep(source: SourceThread) -> None:
        kept.append(source)
        start(source)

    monkeypatch.setattr(SourceThread, "start", keep)
    wire = Wire()
    monkeypatch.setattr("lineside.edge.triggers.triggers.open_source", lambda _trigger: wire)
    with running(broker, tmp_path, eye=TriggerConfig("modbus", ("cam0",), address="plc", wait_s=LIMIT_S)):
        pass
    wire.problem = None
    wire.fires.release()
    kept[0]._stop.clear()
    kept[0]._run()
    assert wire.taken == 0


def test_a_source_that_is_lost_is_said_and_comes_back(
    broker: Mosquitto, client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wire = Wire()
    monkeypatch.setattr("lineside.edge.triggers.triggers.open_source", lambda _trigger: wire)
    monkeypatch.setattr("lineside.edge.triggers.sources.REOPEN_S", (0.01,))
    with running(broker, tmp_path, eye=TriggerConfig("modbus", ("cam0",), address="plc", wait_s=LIMIT_S)) as daemon:
        lost = client.on(TOPICS.event("eye"))[0].json()
        assert "trigger eye is lost, no part is seen: modbus plc:502, unit 1: cannot be reached" in (
            daemon.degraded.sentences()
        )
        wire.problem = None
        back = client.on(TOPICS.event("eye"), count=2)[1].json()
        assert not [sentence for sentence in daemon.degraded.sentences() if "eye" in sentence]
        wire.fires.release()
        until(lambda: counted(daemon, "triggers") == 1)
        client.publish(TOPICS.frame("cam0"), shaded("pass"))
        result = client.on(TOPICS.result("eye"))[0].json()
    assert (lost["event_type"], lost["error"]["code"]) == ("trigger_lost", "trigger_unreachable")
    assert (back["event_type"], back["since"]) == ("trigger_back", lost["since"])
    assert result["verdict"] == "pass"


def test_a_camera_of_a_trigger_is_not_inspected_by_itself(broker: Mosquitto, client: Client, tmp_path: Path) -> None:
    cameras = {"cam0": CameraConfig("mqtt"), "other": CameraConfig("mqtt")}
    with Daemon(station(broker, tmp_path, cameras=cameras, triggers={"eye": EYE})) as daemon:
        assert daemon.wait_online(LIMIT_S)
        client.publish(TOPICS.frame("cam0"), shaded("fail"), qos=0)
        client.publish(TOPICS.frame("other"), shaded("pass"))
        client.on(TOPICS.result("other"))
        info = [message for message in client.received if message.topic == TOPICS.info][-1].json()
    assert not [message for message in client.received if message.topic == TOPICS.result("cam0")]
    assert info["triggers"] == {"eye": ["cam0"]}


def test_a_frame_that_is_delivered_again_is_not_of_the_next_part(
    broker: Mosquitto, client: Client, tmp_path: Path
) -> None:
    """Nobody names the part, and the acknowledgements of the first one are lost."""
    link = Proxy(broker.port)
    with Daemon(station(broker, tmp_path, port=link.port, triggers={"eye": EYE})) as daemon:
        assert daemon.wait_online(LIMIT_S)
        assert daemon.outbox.drain(LIMIT_S)
        link.lose_up = True
        client.publish(TOPICS.trigger("eye"), '{"id": "1"}')
        until(lambda: counted(daemon, "triggers") == 1)
        client.publish(TOPICS.frame("cam0"), shaded("fail"))
        until(lambda: counted(daemon, "results") == 1)
        link.cut()  # nothing that is under way gets through
        client.on(TOPICS.result("eye"))
        until(lambda: counted(daemon, "frames_duplicate") == counted(daemon, "triggers_duplicate") == 1)
        client.publish(TOPICS.trigger("eye"), '{"id": "2"}')
        until(lambda: counted(daemon, "triggers") == 2)
        client.publish(TOPICS.frame("cam0"), shaded("pass"))
        until(lambda: counted(daemon, "results") == 2)
        assert daemon.outbox.drain(LIMIT_S)
    verdicts = {message.json()["trigger"]["id"]: message.json()["verdict"] for message in results(client)}
    assert verdicts == {"1": "fail", "2": "pass"}
    link.close()


def test_a_disk_that_takes_nothing_costs_no_result(
    broker: Mosquitto, client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_arguments: object, **_options: object) -> None:
        raise StoreError("no space")

    monkeypatch.setattr("lineside.edge.wire.trigger_store.TriggerStore.take_over", refuse)
    with running(broker, tmp_path) as daemon:
        for _ in range(2):
            client.publish(TOPICS.trigger("eye"), "")
        until(lambda: counted(daemon, "triggers") == 2)
        for _ in range(2):
            client.publish(TOPICS.frame("cam0"), shaded("pass"))
        found = client.on(TOPICS.result("eye"), count=2)
        assert counted(daemon, "store_errors")
    assert len({message.json()["id"] for message in found}) == 2
