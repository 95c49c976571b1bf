"""Calls and the state that they are made in: false, unknown and too old are all unsafe."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lineside.edge.calls.guard import Guard
from lineside.edge.calls.policy import Policy
from lineside.edge.calls.states import States
from lineside.edge.commands.outcome import undone
from lineside.edge.counters import Counters
from lineside.edge.errors import ConfigError, RequestError
from lineside.edge.safety_config import SafetyConfig
from lineside.edge.station_file import load_config
from lineside.edge.tool_config import PublishConfig, StateConfig, ToolConfig
from lineside.edge.wire.messages import CallReport
from lineside.runtime.chat import ToolCall
from lineside.runtime.commands.language import language
from tests.edge.calls.test_states import station
from tests.support.wait import LIMIT_S

SPEED, BELT = "car/speed", "car/belt"
SAFETY = SafetyConfig(
    parked="Vehicle.Speed == 0",
    max_age_s=2.0,
    states={"Vehicle.Speed": StateConfig(SPEED), "belt": StateConfig(BELT, "{{ fastened }}")},
)
TOOLS = {
    "open": ToolConfig("Open.", safety="parked"),
    "video": ToolConfig("Video.", only_if="Vehicle.Speed < 5 and belt"),
    "engine": ToolConfig("Engine.", safety="never"),
    "volume": ToolConfig("Volume."),
}


@dataclass
class Car:
    """A policy with its states, and a clock that is moved by hand."""

    now: float = 1000.0

    def __post_init__(self) -> None:
        self.states = States(TOOLS, Counters(), lambda: self.now, also=SAFETY.states)
        self.policy = Policy(TOOLS, guard=Guard(TOOLS, SAFETY, self.states))

    def says(self, topic: str, value: Any, retained: bool = False) -> None:
        self.states.take(topic, json.dumps(value).encode(), retained=retained)

    def refused(self, tool: str) -> str:
        """The code, the same before and at admission; empty where the call goes through."""
        codes = []
        for look in (self.policy.check, self.policy.admit):
            try:
                look(ToolCall("abcdefghi", tool, {}))
            except RequestError as error:
                codes.append(error.code)
            else:
                codes.append("")
        assert len(set(codes)) == 1
        return codes[0]


def test_only_in_the_state_that_is_asked_for() -> None:
    car = Car()
    assert car.refused("open") == "not_safe_unknown"
    car.says(SPEED, 30)
    assert car.refused("open") == "not_safe"
    car.says(SPEED, 0)
    assert car.refused("open") == ""
    assert car.refused("video") == "not_safe_unknown"
    car.says(BELT, {"fastened": True})
    assert car.refused("video") == ""
    car.says(BELT, {"fastened": "yes"})
    assert car.refused("video") == "not_safe_unknown"
    assert (car.refused("engine"), car.refused("volume")) == ("never", "")


def test_too_old_is_unsafe_and_so_is_what_the_broker_had_kept() -> None:
    car = Car()
    car.says(SPEED, 0)
    car.now += 2.0
    assert car.refused("open") == ""
    car.now += 0.1
    assert car.refused("open") == "not_safe_stale"
    car.says(SPEED, 0, retained=True)
    assert car.refused("open") == "not_safe_stale"
    car.says(SPEED, 0)
    assert car.refused("open") == ""
    car.states.forget()
    assert car.refused("open") == "not_safe_unknown"


def test_the_refusal_is_said_in_the_language_of_the_command() -> None:
    car = Car()
    car.says(SPEED, 30)
    with pytest.raises(RequestError, match=r"^Vehicle.Speed == 0: Vehicle.Speed = 30$") as caught:
        car.policy.check(ToolCall("abcdefghi", "open", {}))
    report = CallReport(id="x", name="open", arguments={}, outcome="refused", code="not_safe", detail=str(caught.value))
    told = {code: undone([report], language(code)) for code in ("en", "de", "fr", "es")}
    assert all("Vehicle.Speed = 30" in error.message and error.code == "not_safe" for error in told.values() if error)
    assert len({error.message for error in told.values() if error}) == 4


def test_a_yes_that_comes_later_is_looked_at_again(tmp_path: Path) -> None:
    speed = ToolConfig("Speed.", query="{{ state }}", state=StateConfig(SPEED))
    door = ToolConfig("Door.", publish=PublishConfig("car/door"), only_if="speed == 0", confirm_s=60.0)
    with station(tmp_path, speed=speed, door=door) as home:

        def drives_off_and_says_yes() -> None:
            home.says(SPEED, 12)
            home.calls.confirmations.handle("door", b'{"id": "one", "confirmed": true}')

        home.says(SPEED, 0)
        report = home.calls.carry_out(
            ToolCall("one", "door", {}), deadline=time.monotonic() + LIMIT_S, waiting=drives_off_and_says_yes
        )
        assert (report.outcome, report.code, report.detail) == ("refused", "not_safe", "speed == 0: speed = 12")
        assert home.connection.published == []
        home.says(SPEED, 0)
        yes = b'{"id": "two", "confirmed": true}'
        handle = home.calls.confirmations.handle
        report = home.calls.carry_out(
            ToolCall("two", "door", {}), deadline=time.monotonic() + LIMIT_S, waiting=lambda: handle("door", yes)
        )
        assert report.outcome == "issued"


MESSAGES = st.tuples(
    st.just("says"),
    st.sampled_from([SPEED, BELT]),
    st.one_of(
        st.floats(-1, 10).map(lambda value: json.dumps(round(value, 1)).encode()),
        st.sampled_from([b"0", b"0", b"4", b'"0"', b"true", b"null", b"", b"\xff", b'{"fastened": true}', b"{}"]),
        st.sampled_from([b'{"fastened": true}', b'{"fastened": false}', b'{"fastened": 1}']),
    ),
    st.booleans(),
    st.floats(0, 3),
)
STEPS = st.one_of(MESSAGES, st.tuples(st.just("waits"), st.floats(0, 3)), st.tuples(st.just("lost")))


@settings(deadline=None, max_examples=300)
@given(st.lists(STEPS, max_size=25))
def test_no_call_goes_through_where_its_state_is_false_unknown_or_stale(steps: list[tuple[Any, ...]]) -> None:
    car = Car()
    heard: dict[str, tuple[Any, float, bool]] = {}
    for step in steps:
        if step[0] == "waits":
            car.now += step[1]
        elif step[0] == "lost":
            car.states.forget()
            heard.clear()
        else:
            _, topic, payload, retained, age_s = step
            car.states.take(topic, payload, retained=retained, age_s=age_s)
            if (value := _plainly(topic, payload)) is not None:
                heard[topic] = (value, car.now - age_s, retained)
            elif not payload:
                heard.pop(topic, None)
        fresh = {t: v for t, (v, at, kept) in heard.items() if not kept and car.now - at <= 2.0}
        if car.refused("open") == "":
            assert type(fresh.get(SPEED)) in (int, float)
            assert fresh[SPEED] == 0
        if car.refused("video") == "":
            assert type(fresh.get(SPEED)) in (int, float)
            assert fresh[SPEED] < 5
            assert fresh[BELT] is True
        assert car.refused("engine") == "never"


def _plainly(topic: str, payload: bytes) -> Any:
    """What a message says, read in another way than the station reads it; None where it says nothing."""
    try:
        value = json.loads(payload)
    except ValueError:
        try:
            value = payload.decode() or None
        except ValueError:
            return None
    if topic == BELT:
        return value.get("fastened") if isinstance(value, dict) else None
    return "null" if value is None and payload else value


def test_a_condition_that_cannot_be_read_lets_no_policy_begin() -> None:
    for wrong in (replace(SAFETY, parked=""), replace(SAFETY, parked="Vehicle.Speed ==")):
        with pytest.raises(ConfigError, match=r"safety\.parked"):
            Guard(TOOLS, wrong, States(TOOLS, Counters(), also=SAFETY.states))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[tools.a]\ndescription = "A."\nsafety = "parked"', r'`tools.a.safety` is "parked", and `safety.parked`'),
        ('[tools.a]\ndescription = "A."\nsafety = "confirm"', r"`confirm_s`"),
        ('[tools.a]\ndescription = "A."\nonly_if = "speed < 5"', r"speed is no state; .* have none"),
        ('[tools.a]\ndescription = "A."\nonly_if = "speed <"', r"`tools.a.only_if`: at its end"),
        ('[safety.states.speed]\ntopic = "a/+"', r"`safety.states.speed.topic` is not one plain topic"),
        (
            '[tools.a]\ndescription = "A."\nstate = { topic = "x" }\nquery = "{{ state }}"\n'
            '[safety.states.a]\ntopic = "x"',
            r"has the name of a tool",
        ),
    ],
)
def test_mistakes_are_told(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "station.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=told):
        load_config(path, {})
