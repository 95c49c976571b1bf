"""What the audit log says of calls, and that it says so before they act."""

from __future__ import annotations

import dataclasses
import errno
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from lineside.edge.audit.chain import parse_line
from lineside.edge.audit.files import files_in
from lineside.edge.audit.verify import verify
from lineside.edge.calls.audited import Asked
from lineside.edge.tool_config import PublishConfig, RateLimit, ToolConfig
from lineside.runtime.chat import ToolCall
from tests.conftest import ROOT
from tests.edge.calls.test_states import Station, lamp, station
from tests.support.station import SPEED
from tests.support.wait import LIMIT_S

BELT = ToolConfig("Belt.", SPEED, publish=PublishConfig("plant/belt"))
ASKED = Asked("c0ffee", "clients/1", "t1", "", "model", "abc")
PIN = {"type": "object", "properties": {"door": {}, "pin": {"type": "string", "maxLength": 4, "writeOnly": True}}}


def log_of(folder: Path) -> list[dict[str, Any]]:
    """The bodies of a log that is whole, without the times and without its start."""
    verify(folder / "lineside.audit")
    paths = files_in(folder / "lineside.audit")
    lines = [parse_line(raw) for path in paths for raw in path.read_bytes().splitlines()]
    return [{key: value for key, value in line.body.items() if key != "at"} for line in lines][1:]


def ask(home: Station, name: str, asked: Asked = ASKED, **arguments: Any) -> str:
    call = ToolCall(f"{name} {arguments}", name, arguments)
    report = home.calls.carry_out(call, deadline=time.monotonic() + LIMIT_S, asked=asked)
    return report.code or report.outcome


def test_a_line_before_the_act_and_one_of_what_came_of_it(tmp_path: Path) -> None:
    before: list[dict[str, Any]] = []
    limited = dataclasses.replace(BELT, limits={"percent": {"maximum": 80}}, cool_down_s=5.0, unchecked=("negation",))
    with station(tmp_path, belt=limited) as home:
        home.device = lambda _topic, _payload: before.extend(log_of(tmp_path))
        assert ask(home, "belt", percent=50) == "issued"
        assert ask(home, "belt", percent=50) == "issued", "the report is given again"
        assert ask(home, "belt", percent=90) == "over_limit"
        phrased = dataclasses.replace(ASKED, decided_by="phrase", model="")
        assert ask(home, "belt", phrased, percent=51) == "cool_down"
        assert ask(home, "horn", Asked()) == "unknown_tool"
    who = {"command": "c0ffee", "topic": "clients/1", "transaction": "t1"}
    call = {"kind": "call", "call": "belt {'percent': 50}", "tool": "belt", "arguments": {"percent": 50}}
    policy = ["allowed", "parameters", "limits", "cool_down_s"]
    allowed = {"decided_by": "model", "model": "abc", "policy": policy, "unchecked": ["negation"]}
    assert before == [call | {"asked_by": who, "allowed_by": allowed}]
    first, outcome, again, over, early, unknown = log_of(tmp_path)
    assert first == before[0]
    said = {"outcome": "issued", "code": "", "detail": "published on plant/belt"}
    assert outcome == {"kind": "outcome", "call": call["call"], "tool": "belt"} | said
    assert (again["kind"], again["outcome"]) == ("repeated", "issued")
    assert over["refused_because"]["code"] == "over_limit"
    assert "80" in over["refused_because"]["detail"]
    assert (early["refused_because"]["code"], early["refused_because"]["decided_by"]) == ("cool_down", "phrase")
    assert (unknown["tool"], unknown["asked_by"]) == ("horn", {})


@pytest.mark.parametrize("answer", [True, False, None])
def test_who_confirmed(tmp_path: Path, answer: bool | None) -> None:
    with station(tmp_path, belt=dataclasses.replace(BELT, confirm_s=60.0 if answer is not None else 0.01)) as home:

        def say() -> None:
            body = f'{{"id": "one", "confirmed": {str(answer).lower()}, "by": "Eva"}}'
            home.calls.confirmations.handle("belt", body.encode())

        call = ToolCall("one", "belt", {"percent": 5})
        waiting = say if answer is not None else lambda: None
        home.calls.carry_out(call, deadline=time.monotonic() + LIMIT_S, waiting=waiting, asked=ASKED)
    question, answered, last, *_ = log_of(tmp_path)
    assert (question["kind"], question["call"], question["arguments"]) == ("question", "one", {"percent": 5})
    by = {} if answer is None else {"by": "Eva", "way": "lineside/test/confirm/belt"}
    assert answered == {"kind": "answer", "call": "one", "tool": "belt", "confirmed": answer} | by
    if answer:
        assert last["allowed_by"]["confirmed_by"] == "Eva"
        assert last["allowed_by"]["policy"][-1] == "confirm_s"
    else:
        code = "not_confirmed" if answer is None else "declined"
        assert (last["kind"], last["refused_because"]["code"]) == ("refused", code)


def test_a_yes_that_did_not_come_by_mqtt(tmp_path: Path) -> None:
    with station(tmp_path, belt=dataclasses.replace(BELT, confirm_s=60.0)) as home:
        yes = b'{"id": "one", "confirmed": true}'
        call = ToolCall("one", "belt", {"percent": 5})
        handle = home.calls.confirmations.handle
        home.calls.carry_out(
            call, deadline=time.monotonic() + LIMIT_S, waiting=lambda: handle("belt", yes, way="page"), asked=ASKED
        )
    assert log_of(tmp_path)[1]["way"] == "page"


def test_a_secret_is_in_no_line(tmp_path: Path) -> None:
    def carry_out(_topic: str, _payload: bytes) -> None:
        raise OSError("no door takes 4711")

    with station(tmp_path, door=ToolConfig("Door.", PIN, publish=PublishConfig("plant/door"))) as home:
        home.device = carry_out
        for pin in ("4711", "471100"):
            home.calls.carry_out(
                ToolCall(pin[4:], "door", {"door": 1, "pin": pin}), deadline=time.monotonic() + LIMIT_S
            )
    said = b"".join(path.read_bytes() for path in files_in(tmp_path / "lineside.audit"))
    call, outcome, refused = log_of(tmp_path)
    assert call["arguments"] == {"door": 1, "pin": "***"}
    assert "left out" in outcome["detail"]
    assert "left out" in refused["refused_because"]["detail"]
    assert (outcome["outcome"], refused["refused_because"]["code"]) == ("failed", "bad_arguments")
    assert b'4711"' not in said
    assert b"takes 4711" not in said


def test_what_cannot_be_written_down_is_not_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A question is answered, and what was refused so counts for no rate."""
    query = ToolConfig("How fast?", query="{{ states.lamp }}")
    belt = dataclasses.replace(BELT, rate_limit=RateLimit(1, 3600.0))
    reached: list[str] = []

    def full(_descriptor: int, _data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with station(tmp_path, belt=belt, lamp=lamp(), ask=query) as home:
        home.device = lambda topic, _payload: reached.append(topic)
        home.says("zigbee2mqtt/lamp", {"brightness": 1})
        with monkeypatch.context() as patch:
            patch.setattr("lineside.edge.audit.log.os.write", full)
            call = ToolCall("full", "belt", {"percent": 50})
            report = home.calls.carry_out(call, deadline=time.monotonic() + LIMIT_S)
            assert (report.outcome, report.code) == ("refused", "audit")
            assert report.detail == (
                f"belt was not called: the audit log in {tmp_path}/lineside.audit cannot be written (No space left on "
                "device): make room there"
            )
            assert ask(home, "ask") == "achieved"
            assert "calls that act are refused until it can" in home.degraded.sentences()[0]
        assert reached == []
        assert home.calls.carry_out(call, deadline=time.monotonic() + LIMIT_S).outcome == "issued"
        assert home.degraded.sentences() == []
    assert reached == ["plant/belt"]
    assert [line["kind"] for line in log_of(tmp_path)] == ["call", "outcome"]


def test_a_kill_between_line_and_act_leaves_the_line(tmp_path: Path) -> None:
    """The act is the kill."""
    program = (
        "import os, signal, sys; from pathlib import Path\n"
        "from tests.edge.calls.test_audited import BELT, ask; from tests.edge.calls.test_states import Station\n"
        "home = Station(Path(sys.argv[1]), {'belt': BELT})\n"
        "home.device = lambda topic, payload: os.kill(os.getpid(), signal.SIGKILL)\n"
        "ask(home, 'belt', percent=50)\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    assert subprocess.run(command, env=os.environ | {"PYTHONPATH": str(ROOT)}).returncode == -signal.SIGKILL
    (call,) = log_of(tmp_path)
    assert (call["kind"], call["arguments"]) == ("call", {"percent": 50})
    with station(tmp_path, belt=BELT) as home:
        assert ask(home, "belt", percent=50) == "in_doubt"
    assert [line["kind"] for line in log_of(tmp_path)] == ["call", "start", "repeated"]


def test_calls_side_by_side(tmp_path: Path) -> None:
    def many(home: Station, thread: int) -> None:
        for number in range(10):
            ask(home, "belt", percent=10 * thread + number)

    with station(tmp_path, belt=BELT) as home:
        threads = [threading.Thread(target=many, args=(home, thread), daemon=True) for thread in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    lines = log_of(tmp_path)
    for call in {line["call"] for line in lines}:
        assert [line["kind"] for line in lines if line["call"] == call] == ["call", "outcome"]
    assert len(lines) == 40


def test_no_log_where_nothing_may_act(tmp_path: Path) -> None:
    tools = {
        "rehearsed": dataclasses.replace(BELT, dry_run=True),
        "forbidden": dataclasses.replace(BELT, allowed=False),
    }
    with station(tmp_path, **tools) as home:
        assert ask(home, "rehearsed", percent=5) == "dry_run"
        assert not (tmp_path / "lineside.audit").exists()
        home.calls.exchange(home.calls.make_rules(dataclasses.replace(home.config, tools=tools | {"belt": BELT})))
        assert ask(home, "rehearsed", percent=6) == "dry_run"
    assert [(line["kind"], line.get("dry_run")) for line in log_of(tmp_path)] == [("call", True)]
