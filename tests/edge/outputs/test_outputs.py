from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from lineside.devices.cameras.frame import Frame
from lineside.edge.outputs_config import OutputConfig
from tests.support.outputs import Station
from tests.support.wait import until

REJECT = OutputConfig("modbus", pulse_s=0.02)


def test_a_verdict_is_done_after_its_delay_from_the_capture_and_the_result_says_so(tmp_path: Path) -> None:
    with Station(tmp_path, reject=OutputConfig("modbus", delay_s=0.4, deadline_s=60, pulse_s=0.02)) as station:
        captured = time.monotonic() - 0.3
        failed = station.verdict("fail", age_s=0.3, part="a")
        did = station.outputs_of(failed)["reject"]
        until(lambda: station.machines["reject"].levels == [False, True, False])
    (_, part, at), (_, _, off) = station.machines["reject"].writes[1:3]
    assert did["outcome"] == "done"
    assert did["state"] == "on"
    assert part == failed
    assert at - captured >= 0.4
    assert did["after_ms"] >= 400
    assert off - at >= 0.02


def test_a_verdict_that_comes_after_its_time_is_late_and_not_done(tmp_path: Path) -> None:
    late_on = OutputConfig("modbus", delay_s=0.4, on_late="on")
    with Station(tmp_path, reject=OutputConfig("modbus", delay_s=0.4, pulse_s=0.02), line=late_on) as station:
        late = station.verdict("fail", age_s=0.401)
        again = station.verdict("fail", known=False)
        did = station.outputs_of(late)
        assert did["reject"]["outcome"] == did["line"]["outcome"] == "late"
        assert "too late" in did["reject"]["detail"]
        assert "nobody knows when the part was captured" in station.outputs_of(again)["reject"]["detail"]
        until(lambda: station.machines["line"].levels == [False, True, True])
    assert station.machines["reject"].parts() == []


def test_a_busy_output_does_not_do_what_has_become_late(tmp_path: Path) -> None:
    begun, go = threading.Event(), threading.Event()

    def wait() -> None:
        begun.set()
        go.wait()

    with Station(tmp_path, reject=OutputConfig("modbus", deadline_s=5, timeout_s=60)) as station:
        until(lambda: station.machines["reject"].levels == [False])
        station.machines["reject"].before = wait
        first = station.verdict("fail")
        begun.wait()
        second = station.verdict("fail", age_s=4.9)
        time.sleep(0.2)  # the second becomes late while the first is under way
        go.set()
        assert station.outputs_of(second)["reject"]["outcome"] == "late"
        assert station.outputs_of(first)["reject"]["outcome"] == "done"
    assert station.machines["reject"].parts() == [first]


def test_one_whose_connection_took_too_long_to_make_is_late(tmp_path: Path) -> None:
    with Station(tmp_path, reject=OutputConfig("modbus", deadline_s=0.2, pulse_s=0.01)) as station:
        until(lambda: station.machines["reject"].levels == [False])
        station.machines["reject"].connecting = lambda: time.sleep(0.3)
        did = station.outputs_of(station.verdict("fail"))["reject"]
        assert did["outcome"] == "late"
        assert station.machines["reject"].levels == [False]


def test_pulses_that_overlap_are_one_that_ends_after_the_last(tmp_path: Path) -> None:
    with Station(tmp_path, reject=OutputConfig("modbus", pulse_s=0.5)) as station:
        first, second = station.verdict("fail"), station.verdict("fail")
        until(lambda: station.machines["reject"].levels == [False, True, True, False])
        began, ended = station.machines["reject"].writes[2], station.machines["reject"].writes[3]
    assert station.machines["reject"].parts() == [first, second]
    assert ended[2] - began[2] >= 0.5


def test_without_a_pulse_it_stays_until_the_next_verdict(tmp_path: Path) -> None:
    with Station(tmp_path, gate=OutputConfig("modbus")) as station:
        for verdict in ("fail", "pass", "fail"):
            assert station.outputs_of(station.verdict(verdict))["gate"]["outcome"] == "done"
        assert station.machines["gate"].levels == [False, True, False, True]
    assert station.machines["gate"].levels[-1] is False  # the station stops


@pytest.mark.parametrize(("verdict", "outcome"), [("fail", "done"), ("unsure", "done"), ("pass", "skipped")])
def test_each_verdict_of_its_list_switches_it_on(tmp_path: Path, verdict: str, outcome: str) -> None:
    reject = OutputConfig("modbus", on=("fail", "unsure"), pulse_s=0.01)
    with Station(tmp_path, reject=reject) as station:
        assert station.outputs_of(station.verdict(verdict))["reject"]["outcome"] == outcome  # type: ignore[arg-type]


def test_unsure_and_rejected_frames_do_what_is_declared(tmp_path: Path) -> None:
    divert = OutputConfig("modbus", on_unsure="on", on_error="on", pulse_s=0.01)
    with Station(tmp_path, divert=divert, lamp=OutputConfig("modbus", on_unsure="keep", on_error="keep")) as station:
        did = station.outputs_of(station.verdict("unsure"))
        assert (did["divert"]["outcome"], did["lamp"]["outcome"]) == ("done", "skipped")
        frame = Frame("top")
        station.answers.reject(frame, "malformed", "not a picture")
        until(lambda: len(station.machines["divert"].parts()) == 2)
        assert station.machines["divert"].parts()[1] == frame.id
        assert station.machines["lamp"].levels == [False]


def test_it_takes_the_verdicts_of_its_cameras_alone(tmp_path: Path) -> None:
    side = OutputConfig("modbus", cameras=("side",), pulse_s=0.01)
    with Station(tmp_path, reject=side) as station:
        top, other = station.verdict("fail", "top"), station.verdict("fail", "side")
        assert station.outputs_of(top) == {}
        assert station.outputs_of(other)["reject"]["outcome"] == "done"
    assert station.machines["reject"].parts() == [other]


def test_one_that_cannot_be_reached_is_said_once_and_holds_up_nobody(tmp_path: Path) -> None:
    with Station(tmp_path, reject=REJECT, lamp=REJECT) as station:
        until(lambda: station.machines["reject"].levels == [False])
        station.machines["reject"].break_down()
        for _ in range(2):
            did = station.outputs_of(station.verdict("fail"))
            assert did["reject"] == {"outcome": "failed", "detail": "machine: broken"}
            assert did["lamp"]["outcome"] == "done"
        assert station.degraded.sentences() == ["output reject: machine: broken"]
        station.machines["reject"].repair()
        until(lambda: "output_back" in station.events())
        assert station.events() == ["output_failed", "output_back"]
        assert station.degraded.sentences() == []
        assert station.machines["reject"].parts() == []  # a part that was missed is not rejected later
        until(lambda: station.machines["reject"].levels == [False, False])  # it may have been on all the same


def test_one_that_never_answers_holds_its_result_for_a_bounded_time_alone(tmp_path: Path) -> None:
    go = threading.Event()
    with Station(tmp_path, reject=OutputConfig("modbus", pulse_s=0.01, timeout_s=0.05), lamp=REJECT) as station:
        until(lambda: station.machines["reject"].levels == [False])
        station.machines["reject"].before = go.wait  # type: ignore[assignment]
        first, second, third = station.verdict("fail"), station.verdict("fail"), station.verdict("pass")
        assert "nobody knows what came of it" in station.outputs_of(first)["reject"]["detail"]
        assert "not begun" in station.outputs_of(second)["reject"]["detail"]
        assert next(iter(station.results())) == third  # it waits for nobody
        go.set()
    assert station.machines["reject"].parts() == [first]


def test_the_safe_state_holds_while_the_station_is_unfit(tmp_path: Path) -> None:
    stop, keep = OutputConfig("modbus", safe="on"), OutputConfig("modbus", safe="keep", pulse_s=0.01)
    with Station(tmp_path, stop=stop, keep=keep) as station:
        until(lambda: station.machines["stop"].levels == [True])
        station.outputs_of(station.verdict("pass"))
        assert station.machines["stop"].levels == [True, False]
        station.unfit = "camera top: no frame arrives"
        until(lambda: station.machines["stop"].levels == [True, False, True])
        did = station.outputs_of(station.verdict("pass"))
        assert did["stop"]["outcome"] == "skipped"
        assert "camera top" in did["stop"]["detail"]
        assert station.outputs_of(station.verdict("fail"))["keep"]["outcome"] == "done"
        assert any("output stop is held on" in sentence for sentence in station.degraded.sentences())
        station.unfit = ""
        until(lambda: not station.degraded.sentences())
        assert station.outputs_of(station.verdict("pass"))["stop"]["outcome"] == "done"
    assert station.machines["stop"].levels == [True, False, True, False, True]
    assert station.machines["keep"].levels == [True, False]


def test_a_safe_state_that_is_on_ends_with_a_verdict_and_a_pulse_does_not(tmp_path: Path) -> None:
    with Station(tmp_path, stop=OutputConfig("modbus", safe="on", pulse_s=60)) as station:
        assert station.outputs_of(station.verdict("pass"))["stop"]["state"] == "off"
        assert station.outputs_of(station.verdict("fail"))["stop"]["state"] == "on"
        assert station.outputs_of(station.verdict("pass"))["stop"]["outcome"] == "skipped"
        assert station.machines["stop"].levels == [True, False, True]


def test_a_heartbeat_goes_on_while_the_pipeline_lives_and_no_longer(tmp_path: Path) -> None:
    with Station(tmp_path, alive=OutputConfig("modbus", heartbeat_s=0.01)) as station:
        machine = station.machines["alive"]
        until(lambda: len(machine.beats) >= 3)
        station.lives = False
        seen = len(machine.beats) + 1  # one may be under way
        time.sleep(0.1)
        assert len(machine.beats) <= seen
        station.lives = True
        until(lambda: len(machine.beats) > seen)
        assert machine.beats == list(range(1, len(machine.beats) + 1))


def test_a_station_that_stops_gives_out_what_waits_and_leaves_its_outputs_safe(tmp_path: Path) -> None:
    with Station(
        tmp_path, reject=OutputConfig("modbus", delay_s=60, pulse_s=1), lamp=OutputConfig("modbus")
    ) as station:
        failed = station.verdict("fail")
        until(lambda: station.machines["lamp"].levels == [False, True])
        assert station.results() == {}
        station.outputs.close()
        did = station.outputs_of(failed)
        assert did["lamp"]["outcome"] == "done"
        assert did["reject"] == {"outcome": "failed", "detail": "the station stopped before it was due"}
        assert station.machines["lamp"].levels == [False, True, False]
        assert station.machines["lamp"].closed
        assert station.outputs_of(station.verdict("fail"))["lamp"]["outcome"] == "skipped"
    assert station.machines["reject"].parts() == []
