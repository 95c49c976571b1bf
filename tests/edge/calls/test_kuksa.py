"""Signals in a databroker: set, read back, heard; and what is said where there is none. The real one was not run."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, cast

import grpc
import pytest

from lineside.edge.calls.calls import Calls
from lineside.edge.calls.state_link import StateLink
from lineside.edge.config import Config
from lineside.edge.counters import Counters
from lineside.edge.degraded import Degraded
from lineside.edge.errors import ConfigError
from lineside.edge.mqtt_config import MqttConfig
from lineside.edge.safety_config import SafetyConfig
from lineside.edge.station_file import load_config
from lineside.edge.tool_config import SignalConfig, StateConfig, ToolConfig
from lineside.edge.vss_config import KuksaConfig
from lineside.edge.wire.messages import CallReport
from lineside.edge.wire.mqtt import Connection
from lineside.edge.wire.outbox import Outbox
from lineside.edge.wire.store import Store
from lineside.edge.wire.topics import Topics
from lineside.runtime.chat import ToolCall
from tests.edge.calls.test_bindings import FakeConnection
from tests.support.databroker import Databroker, databroker
from tests.support.secured import make_certificate
from tests.support.wait import LIMIT_S, until

ROOF, TRUNK, WIPER, SPEED = (
    "Vehicle.Cabin.Sunroof.Position",
    "Vehicle.Body.Trunk.Rear.IsOpen",
    "Vehicle.Body.Windshield.Front.Wiping.Mode",
    "Vehicle.Speed",
)
VALUE: dict[str, Any] = {"type": "object", "required": ["value"], "properties": {"value": {}}}


def tool(signal: str, wait_s: float = LIMIT_S, **settings: Any) -> ToolConfig:
    state = StateConfig(f"kuksa:{signal}", settings.pop("read", "{{ value }}"), settings.pop("expect", "{{ value }}"))
    sets = SignalConfig(signal, settings.pop("told", None))
    return ToolConfig("Set.", VALUE, kuksa=sets, state=state, wait_s=wait_s, **settings)


MODES: dict[str, Any] = {"told": '{{ {"slow": "SLOW"}[value] }}', "read": '{{ {"SLOW": "slow"}[value] }}'}
TOOLS = {
    "roof": tool(ROOF, 0.3),
    "trunk": tool(TRUNK, only_if="Vehicle.Speed == 0"),
    "wiper": tool(WIPER, **MODES),
    "speed": ToolConfig("Speed.", query="{{ state }} km/h", state=StateConfig(f"kuksa:{SPEED}")),
    "seats": ToolConfig("Seats.", VALUE, kuksa=SignalConfig("Vehicle.Cabin.Seats")),
}


class Car:
    """A station's calls with a databroker, and with no broker of MQTT."""

    def __init__(self, folder: Path, port: int, **kuksa: Any) -> None:
        self.degraded, self.counters = Degraded(), Counters()
        self.store = Store(folder / "lineside.db", 1000, 3600, self.degraded)
        connection = cast(Connection, FakeConnection())
        outbox = Outbox(self.store, connection, self.counters, self.degraded)
        states = {SPEED: StateConfig(f"kuksa:{SPEED}")}
        config = Config(
            tools=TOOLS,
            folder=folder,
            safety=SafetyConfig(states=states),
            kuksa=KuksaConfig(f"127.0.0.1:{port}", **kuksa),
        )
        self.calls = Calls(config, Topics("t"), self.store, outbox, connection, self.counters, degraded=self.degraded)
        mqtt, mark = MqttConfig(), self.store.session_mark
        self.link = StateLink(
            mqtt, "car", self.calls.states, self.counters, self.degraded, mark, connection, self.calls.kuksa
        )
        self.link.start()
        self._ids = 0

    def call(self, name: str, **arguments: Any) -> CallReport:
        self._ids += 1
        call = ToolCall(f"call{self._ids}", name, arguments)
        return self.calls.carry_out(call, deadline=time.monotonic() + LIMIT_S)

    def hears(self) -> bool:
        """Whether the car has noticed that it is subscribed: the databroker knows it first."""
        kuksa: Any = self.calls.kuksa
        return bool(kuksa._hearing.up.is_set())

    def knows(self, name: str, value: Any) -> bool:
        known = self.calls.states.known(name, {})
        return known is not None and known.value == value

    def close(self) -> None:
        self.link.close()
        self.calls.close()
        self.calls.close_audit()
        self.store.close()


@contextmanager
def car(folder: Path, port: int, **kuksa: Any) -> Iterator[Car]:
    made = Car(folder, port, **kuksa)
    try:
        yield made
    finally:
        made.close()


def test_a_signal_is_set_and_achieved_when_the_databroker_says_so(tmp_path: Path) -> None:
    broker = Databroker()
    with databroker(broker) as port, car(tmp_path, port) as mine:
        assert broker.subscribed.wait(LIMIT_S)
        until(mine.hears)
        broker.says(SPEED, 0.0)
        until(lambda: mine.knows(SPEED, 0))
        report = mine.call("trunk", value=True)
        assert (report.outcome, report.detail) == ("achieved", f"kuksa:{TRUNK} says true")
        assert mine.call("wiper", value="slow").outcome == "achieved"
        assert broker.actuated == [(TRUNK, True), (WIPER, "SLOW")]
        assert mine.call("speed").result["text"] == "0.0 km/h"


def test_a_signal_that_is_not_as_asked_has_failed(tmp_path: Path) -> None:
    broker = Databroker()
    with databroker(broker) as port, car(tmp_path, port) as mine:
        assert broker.subscribed.wait(LIMIT_S)
        until(mine.hears)
        broker.provider = lambda signal, _value: broker.says(signal, 10)
        report = mine.call("roof", value=50)
        assert (report.outcome, report.code) == ("failed", "state_differs")
        assert "is 10" in report.detail


def test_how_old_a_value_is_its_own_time_says(tmp_path: Path) -> None:
    broker = Databroker()
    broker.says(SPEED, 0.0, age_s=3600.0)
    with databroker(broker) as port, car(tmp_path, port) as mine:
        for position, age_s in enumerate((3600.0, None, -60.0)):
            broker.says(SPEED, 0.0, age_s=age_s)
            broker.says(ROOF, position)
            until(partial(mine.knows, "roof", position))
            assert mine.call("trunk", value=True).code in ("not_safe_stale", "not_safe_unknown")
        broker.says(SPEED, 80.5)
        until(lambda: mine.knows(SPEED, 80.5))
        assert mine.call("trunk", value=True).code == "not_safe"
    assert broker.actuated == []


def test_without_a_databroker_nothing_is_set_and_nothing_known_until_it_is_back(tmp_path: Path) -> None:
    broker = Databroker()
    with databroker(broker) as port, car(tmp_path, port) as mine:
        assert broker.subscribed.wait(LIMIT_S)
        until(mine.hears)
        broker.says(SPEED, 0.0)
        until(lambda: mine.knows(SPEED, 0))
        broker.end()
        until(lambda: mine.calls.states.known(SPEED, {}) is None)
        assert any("not known, and cannot be set" in sentence for sentence in mine.degraded.sentences())
        report = mine.call("roof", value=20)
        assert (report.outcome, broker.actuated) == ("failed", [])
        assert f"127.0.0.1:{port} cannot be reached: {ROOF} was not set" in report.detail
        until(lambda: mine.knows(SPEED, 0))  # it subscribes again
        assert not mine.degraded.sentences()
        assert mine.call("trunk", value=True).outcome == "achieved"


def test_nobody_there_at_all(tmp_path: Path) -> None:
    with databroker(Databroker()) as port:
        pass
    with car(tmp_path, port) as mine:
        until(lambda: bool(mine.degraded.sentences()))
        assert mine.call("wiper", value="slow").outcome == "failed"
        assert mine.call("trunk", value=True).code == "not_safe_unknown"


@pytest.mark.parametrize(
    ("code", "told"),
    [
        (grpc.StatusCode.UNAVAILABLE, "cannot be reached"),
        (grpc.StatusCode.PERMISSION_DENIED, "`kuksa.token_file`"),
        (grpc.StatusCode.NOT_FOUND, "does not know it"),
        (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT: as the test wants it"),
    ],
)
def test_what_the_databroker_refuses_has_failed(tmp_path: Path, code: grpc.StatusCode, told: str) -> None:
    broker = Databroker()
    broker.fails = code
    with databroker(broker) as port, car(tmp_path, port) as mine:
        assert broker.subscribed.wait(LIMIT_S)
        until(mine.hears)
        report = mine.call("roof", value=20)
        assert report.outcome == "failed"
        assert told in report.detail


def test_a_value_of_another_type_and_a_type_that_no_call_can_set(tmp_path: Path) -> None:
    broker = Databroker()
    with databroker(broker) as port, car(tmp_path, port) as mine:
        assert broker.subscribed.wait(LIMIT_S)
        until(mine.hears)
        assert "is no value of type DATA_TYPE_INT8" in mine.call("roof", value="wide").detail
        assert "cannot be set by a call" in mine.call("seats", value=1).detail


def test_the_token_is_sent_and_a_signal_that_is_not_there_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "token").write_text("abc.def\n", encoding="utf-8")
    monkeypatch.setitem(TOOLS, "gone", tool("Vehicle.Gone"))
    broker = Databroker()
    with databroker(broker) as port, car(tmp_path, port, token_file="token") as mine:
        assert broker.subscribed.wait(LIMIT_S)
        until(mine.hears)
        assert broker.tokens == ["Bearer abc.def"]
        assert mine.degraded.sentences() == ["the databroker does not know Vehicle.Gone"]


def test_over_tls_to_whom_the_certificate_is_for(tmp_path: Path) -> None:
    make_certificate(tmp_path, "broker", "127.0.0.1", "localhost")
    pair = [((tmp_path / "broker.key").read_bytes(), (tmp_path / "broker.crt").read_bytes())]
    broker = Databroker()
    with databroker(broker, credentials=grpc.ssl_server_credentials(pair)) as port:
        with car(tmp_path, port, tls=True, ca_file="ca.crt"):
            assert broker.subscribed.wait(LIMIT_S)
        with car(tmp_path, port, tls=True) as stranger:
            until(lambda: any("cannot be reached" in sentence for sentence in stranger.degraded.sentences()))


def test_without_it_its_library_is_not_loaded() -> None:
    code = (
        "import sys, lineside.edge.calls.calls, lineside.edge.calls.state_link, lineside.edge.station_file\n"
        "sys.exit(any(name.split('.')[0] in ('grpc', 'kuksa', 'kuksa_client') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[kuksa]\naddress = "localhost"', "`kuksa.address`"),
        ('[kuksa]\naddress = "localhost:99999"', "a port is a number from 1 to 65535"),
        ('[kuksa]\naddress = "car.example:55555"\ntoken_file = "station.toml"', "set `kuksa.tls`"),
        ('[kuksa]\naddress = "localhost:55555"\nca_file = "station.toml"', "does nothing without `kuksa.tls`"),
        ('[kuksa]\naddress = "localhost:55555"\ntoken_file = "none"', "none is not a file"),
        ('[tools.a]\ndescription = "A."\nkuksa = { signal = "A.b" }', "where the databroker is"),
        ('[tools.a]\ndescription = "A."\nstate = { topic = "kuksa:A.b" }\nquery = "{{ state }}"', "`kuksa.address`"),
        (
            '[kuksa]\naddress = "localhost:55555"\n[tools.a]\ndescription = "A."\nkuksa = { signal = "A.b" }',
            "`tools.a.kuksa.value` is missing",
        ),
    ],
)
def test_mistakes_are_told(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "station.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_config(path, {})
    assert told in str(caught.value)
