"""What a device says of itself decides what came of a call, and answers questions."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineside.edge.calls.bindings import Binding, Done
from lineside.edge.calls.calls import Calls
from lineside.edge.calls.states import HEADING, MAX_AGE_S, MAX_SHOWN, MAX_SHOWN_CHARACTERS, States
from lineside.edge.calls.watch import same, shown
from lineside.edge.config import Config
from lineside.edge.counters import Counters
from lineside.edge.degraded import Degraded
from lineside.edge.mcp_config import McpToolConfig
from lineside.edge.tool_config import PublishConfig, StateConfig, ToolConfig
from lineside.edge.wire.messages import CallReport
from lineside.edge.wire.mqtt import Connection
from lineside.edge.wire.outbox import Outbox
from lineside.edge.wire.store import Store
from lineside.edge.wire.topics import Topics
from lineside.runtime.chat import ToolCall
from tests.edge.calls.test_bindings import FakeConnection
from tests.support.station import SPEED
from tests.support.wait import LIMIT_S

LAMP = "zigbee2mqtt/lamp"
BRIGHTNESS = {"brightness": "{{ (percent * 2.54) | round | int }}"}
ROOMS = {"kitchen": "home/kitchen", "bedroom": "home/bedroom"}
ROOM = {"type": "object", "properties": {"room": {"enum": list(ROOMS)}}, "required": ["room"]}
QUICK_S = 0.1
"""For what is waited for in vain."""


def lamp(wait_s: float = LIMIT_S, **state: Any) -> ToolConfig:
    settings = StateConfig(**{"topic": LAMP, "value": "{{ brightness }}"} | state)
    return ToolConfig("Lamp.", SPEED, wait_s=wait_s, publish=PublishConfig(f"{LAMP}/set", BRIGHTNESS), state=settings)


class Station:
    """The calls of a station whose publishes reach `device`, which says its state on `says`."""

    def __init__(
        self, folder: Path, tools: Mapping[str, ToolConfig], others: Mapping[str, Binding] | None = None
    ) -> None:
        self.device: Callable[[str, bytes], None] = lambda _topic, _payload: None
        self.counters = Counters()
        self.degraded = Degraded()
        self.store = Store(folder / "lineside.db", 1000, 3600, self.degraded)
        self.connection = _Reaching(self)
        connection = cast(Connection, self.connection)
        outbox = Outbox(self.store, connection, self.counters, Degraded())
        topics = Topics("lineside/test")
        self.config = config = Config(tools=dict(tools), folder=folder)
        self.calls = Calls(
            config, topics, self.store, outbox, connection, self.counters, others, degraded=self.degraded
        )
        self._ids = 0

    def close(self) -> None:
        self.calls.close()
        self.calls.close_audit()
        self.store.close()

    def says(self, topic: str, body: Any, *, retained: bool = False) -> None:
        payload = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.calls.states.take(topic, payload, retained=retained)

    def call(self, name: str, **arguments: Any) -> CallReport:
        self._ids += 1
        call = ToolCall(f"call{self._ids}", name, arguments)
        return self.calls.carry_out(call, deadline=time.monotonic() + LIMIT_S)


class _Reaching(FakeConnection):
    def __init__(self, station: Station) -> None:
        super().__init__()
        self._station = station

    def publish(self, topic: str, payload: bytes, **options: Any) -> None:
        super().publish(topic, payload, **options)
        self._station.device(topic, payload)


@contextmanager
def station(folder: Path, **tools: ToolConfig) -> Iterator[Station]:
    made = Station(folder, tools)
    try:
        yield made
    finally:
        made.close()


def test_a_call_is_achieved_when_the_device_says_what_was_asked(tmp_path: Path) -> None:
    """On its way there the lamp may say other states."""
    with station(tmp_path, lamp=lamp()) as home:

        def dims(_topic: str, payload: bytes) -> None:
            home.says(LAMP, {"brightness": 80})
            home.says(LAMP, {"linkquality": 90})
            home.says(LAMP, json.loads(payload) | {"state": "ON"})

        home.device = dims
        report = home.call("lamp", percent=50)
    assert (report.outcome, report.detail, report.code) == ("achieved", f"{LAMP} says 127", "")
    assert report.result == {"state": 127, "topic": f"{LAMP}/set", "payload": {"brightness": 127}}


def test_a_device_that_says_something_else_has_failed(tmp_path: Path) -> None:
    with station(tmp_path, lamp=lamp(QUICK_S)) as home:
        home.device = lambda _topic, _payload: home.says(LAMP, {"brightness": 90})
        report = home.call("lamp", percent=50)
    assert (report.outcome, report.code) == ("failed", "state_differs")
    assert report.detail == f"{LAMP} is 90 (0 s ago) and not 127 {QUICK_S:g} s after the call"


def test_a_device_that_says_nothing_has_failed(tmp_path: Path) -> None:
    with station(tmp_path, lamp=lamp(QUICK_S)) as home:
        report = home.call("lamp", percent=50)
    assert (report.outcome, report.code) == ("failed", "state_unknown")
    assert LAMP in report.detail


def test_a_kept_message_of_before_confirms_nothing(tmp_path: Path) -> None:
    """It may come after the call has gone out, when the subscription has just been made: it is old all the same."""
    with station(tmp_path, lamp=lamp(QUICK_S)) as home:
        home.device = lambda _topic, _payload: home.says(LAMP, {"brightness": 127}, retained=True)
        report = home.call("lamp", percent=50)
    assert (report.outcome, report.code) == ("issued", "")
    assert "was 127 (kept by the broker, at least 0 s old) already, and has said nothing since" in report.detail


def test_a_kept_message_counts_where_the_state_was_another_before(tmp_path: Path) -> None:
    """The connection broke after the call: what the device said meanwhile is there when it stands again."""
    with station(tmp_path, lamp=lamp()) as home:
        home.says(LAMP, {"brightness": 0})

        def breaks(_topic: str, _payload: bytes) -> None:
            home.calls.states.forget()
            home.says(LAMP, {"brightness": 127}, retained=True)

        home.device = breaks
        assert home.call("lamp", percent=50).outcome == "achieved"


def test_a_device_that_was_so_already_is_believed_when_it_says_so_again(tmp_path: Path) -> None:
    with station(tmp_path, lamp=lamp(QUICK_S)) as home:
        home.says(LAMP, {"brightness": 127})
        report = home.call("lamp", percent=50)
        assert report.outcome == "issued"
        assert "was 127 (0 s ago) already" in report.detail
        home.device = lambda _topic, _payload: home.says(LAMP, {"brightness": 127})
        assert home.call("lamp", percent=50).outcome == "achieved"


def test_what_comes_too_late_is_the_state_of_then_and_changes_no_report(tmp_path: Path) -> None:
    with station(tmp_path, lamp=lamp(QUICK_S)) as home:
        assert home.call("lamp", percent=50).outcome == "failed"
        home.says(LAMP, {"brightness": 127})
        known = home.calls.states.known("lamp", {})
        assert known is not None
        assert known.value == 127
        assert home.call("lamp", percent=20).outcome == "failed"


def test_where_nothing_was_sent_no_state_is_waited_for(tmp_path: Path) -> None:
    with station(tmp_path, lamp=lamp(600.0)) as home:
        home.connection._problem = "the topic is too long"
        report = home.call("lamp", percent=50)
    assert (report.outcome, report.detail) == ("failed", "the topic is too long")


def test_stopping_ends_the_wait(tmp_path: Path) -> None:
    with station(tmp_path, lamp=lamp(600.0)) as home:
        home.device = lambda _topic, _payload: home.calls.close()
        report = home.call("lamp", percent=50)
    assert report.outcome == "issued"
    assert f"the station stopped before {LAMP} said more" in report.detail


@pytest.mark.parametrize(
    ("state", "said", "outcome"),
    [
        ({"within": 1}, {"brightness": 126}, "achieved"),
        ({"within": 1}, {"brightness": 125}, "failed"),
        ({"value": "{{ (brightness / 2.54) | round | int }}"}, {"brightness": 128}, "achieved"),
        ({"value": "{{ value_json.brightness }}"}, {"brightness": 127}, "achieved"),
        ({"value": "{{ state }}", "expect": "{{ 'ON' if percent else 'OFF' }}"}, {"state": "on"}, "achieved"),
        ({"value": "{{ level }}"}, {"level": 50}, "achieved"),
        ({"value": "{{ value }}", "expect": "{{ percent }}"}, b"50", "achieved"),
        ({"value": "{{ value }}", "expect": "{{ percent }}"}, b"fifty", "failed"),
    ],
)
def test_what_a_call_asks_for(state: dict[str, Any], said: Any, outcome: str, tmp_path: Path) -> None:
    """Half of the brightness is 127; where the state is in no payload, the only argument says what it must be."""
    with station(tmp_path, lamp=lamp(QUICK_S, **state)) as home:
        home.device = lambda _topic, _payload: home.says(LAMP, said)
        assert home.call("lamp", percent=50).outcome == outcome


def test_a_tool_without_a_publish_expects_its_argument(tmp_path: Path) -> None:
    """And a function's own word is not the last."""
    state = StateConfig("plc/belt", "{{ percent }}")
    tool = ToolConfig("Belt.", SPEED, wait_s=QUICK_S, python="tests.edge.calls.test_bindings:double", state=state)
    with station(tmp_path, belt=tool) as line:
        line.says("plc/belt", {"percent": 10})
        report = line.call("belt", percent=50)
        assert (report.outcome, report.code) == ("failed", "state_differs")


def test_the_state_topic_is_chosen_by_the_argument(tmp_path: Path) -> None:
    """Another room's light says nothing about this one's."""
    publish = PublishConfig({"room": {room: f"{topic}/set" for room, topic in ROOMS.items()}}, "ON")
    state = StateConfig({"room": ROOMS}, "{{ value }}")
    tool = ToolConfig("Light.", ROOM, wait_s=QUICK_S, publish=publish, state=state)
    with station(tmp_path, light=tool) as home:
        home.device = lambda _topic, _payload: home.says("home/bedroom", b"ON")
        assert home.call("light", room="kitchen").code == "state_unknown"
        assert home.call("light", room="bedroom").outcome == "achieved"
        assert home.calls.states.text() == f"{HEADING}\nlight room=bedroom: ON (0 s ago)"


# Questions


def question(query: str, state: StateConfig | None = None, **options: Any) -> ToolConfig:
    return ToolConfig("A question.", query=query, state=state, **options)


def test_a_query_answers_from_states_and_publishes_nothing(tmp_path: Path) -> None:
    light = ToolConfig("Light.", ROOM, wait_s=0, state=StateConfig({"room": ROOMS}, "{{ state }}", expect="ON"))
    asks = question("The light in the {{ room }} is {{ states.light | lower }}.", parameters=ROOM)
    with station(tmp_path, light=light, asks=asks) as home:
        home.device = lambda topic, _payload: pytest.fail(f"published on {topic}")
        home.says("home/kitchen", {"state": "ON"})
        home.says("home/bedroom", {"state": "OFF"}, retained=True)
        kitchen, bedroom = home.call("asks", room="kitchen"), home.call("asks", room="bedroom")
    assert (kitchen.outcome, kitchen.result["text"]) == ("achieved", "The light in the kitchen is on.")
    assert bedroom.result["text"] == "The light in the bedroom is off."
    assert [report.result["retained"] for report in (kitchen, bedroom)] == [False, True]


def test_a_query_with_a_state_of_its_own(tmp_path: Path) -> None:
    asks = question("It is {{ state }} degrees.", StateConfig("home/climate", "{{ temperature }}"))
    with station(tmp_path, asks=asks) as home:
        report = home.call("asks")
        assert (report.outcome, report.code) == ("failed", "state_unknown")
        assert "home/climate has said nothing" in report.detail
        home.says("home/climate", {"temperature": 21.5})
        assert home.call("asks").result["text"] == "It is 21.5 degrees."
        home.calls.states.forget()  # the connection is lost
        assert home.call("asks").code == "state_unknown"


# What devices may say


@given(
    st.one_of(st.binary(max_size=300), st.text(max_size=50).map(lambda text: json.dumps({"brightness": text}).encode()))
)
def test_whatever_a_device_says_is_read_or_left(payload: bytes) -> None:
    states = States({"lamp": lamp()}, Counters())
    states.take(LAMP, b'{"brightness": 5}', retained=False)
    states.take(LAMP, payload, retained=False)
    known = states.known("lamp", {})
    assert (known is None) == (payload == b"")
    assert all(line.isprintable() for line in states.text().split("\n"))


@pytest.mark.parametrize(
    "payload",
    [b"\xff\xfe", b"{}", b"[1]", b'{"brightness": NaN}', b'{"brightness": 1e999}', b'{"x": ' * 50_000, b"x" * 70_000,
     json.dumps({"brightness": "x" * 500}).encode()],
    ids=lambda payload: str(payload[:20]),
)  # fmt: skip
def test_what_cannot_be_read_leaves_the_last_state(payload: bytes) -> None:
    counters = Counters()
    states = States({"lamp": lamp()}, counters)
    states.take(LAMP, b'{"brightness": 5}', retained=False)
    states.take(LAMP, payload, retained=False)
    known = states.known("lamp", {})
    assert known is not None
    assert known.value == 5
    assert counters.snapshot() == {"states_unreadable": 1}


def test_a_state_gets_old() -> None:
    now = [1000.0]
    states = States({"lamp": lamp()}, Counters(), lambda: now[0])
    states.take(LAMP, b'{"brightness": 5}', retained=False)
    now[0] += 180
    assert states.text() == f"{HEADING}\nlamp: 5 (3 min ago)"
    now[0] += MAX_AGE_S
    assert (states.known("lamp", {}), states.text()) == (None, "")


def test_what_is_shown_is_bounded_and_on_one_line() -> None:
    tools = {f"tool{index}": lamp(topic=f"t/{index}") for index in range(100)}
    states = States(tools, Counters())
    for index in range(100):
        states.take(f"t/{index}", json.dumps({"brightness": f"{index}\n[INST]" + "x" * 150}).encode(), retained=False)
    text = states.text()
    assert len(text) <= MAX_SHOWN_CHARACTERS + len(HEADING) + 1
    assert len(text.split("\n")) - 1 <= MAX_SHOWN
    assert "tool99: 99 [INST]" in text
    assert len(states.longest_text()) <= MAX_SHOWN_CHARACTERS + len(HEADING) + 1


@given(st.floats(-1e6, 1e6), st.floats(0, 100), st.floats(0, 200))
def test_numbers_are_the_same_within_what_was_allowed(wanted: float, within: float, off: float) -> None:
    for state in (wanted + off, wanted - off, str(wanted + off)):
        if abs(abs(float(state) - wanted) - within) > 1e-6 + 2e-9 * abs(wanted):
            assert same(state, wanted, within) == (abs(float(state) - wanted) < within)


@pytest.mark.parametrize(
    ("state", "wanted", "equal"),
    [("ON", "on", True), (True, "true", True), (True, 1, False), ("50", 50, True), (None, None, True),
     ("off", False, False), ([1], [1], True), ("nan", "nan", True), ("", 0, False)],
)  # fmt: skip
def test_other_values_are_the_same_as_people_write_them(state: Any, wanted: Any, equal: bool) -> None:
    assert same(state, wanted) == equal


def test_a_state_is_shown_in_few_characters() -> None:
    assert shown({"a": "ü"}) == '{"a": "ü"}'
    assert len(shown("x" * 1000)) < 70


class Refusing:
    """A server that is not there."""

    def invoke(self, *_arguments: object) -> Done:
        return Done("refused", "not there", code="mcp_unavailable")

    def close(self) -> None: ...


def test_what_was_refused_waits_for_no_state(tmp_path: Path) -> None:
    tool = McpToolConfig("Lamp.", SPEED, state=StateConfig(LAMP, "{{ brightness }}", expect="{{ percent }}"))
    station = Station(tmp_path, {"dim": tool}, {"mcp": Refusing()})
    report = station.call("dim", percent=50)
    assert (report.outcome, report.code, report.detail) == ("refused", "mcp_unavailable", "not there")
    station.calls.close()
    station.store.close()
