"""What triggers, on the real thing where there is one without hardware: pymodbus's and asyncua's own servers, and the
mock pins of gpiozero."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from gpiozero import Device
from gpiozero.pins.mock import MockFactory

from lineside.devices.errors import LinkError
from lineside.devices.triggers.gpio import GpioTrigger
from lineside.devices.triggers.modbus import CoilTrigger
from lineside.devices.triggers.opcua import NodeTrigger
from lineside.devices.triggers.timer import Timer
from lineside.devices.triggers.trigger import EdgeKind, Moment, TriggerSource, is_edge
from tests.support.plc import OpcUaServer, Plc
from tests.support.proxy import Proxy
from tests.support.wait import LIMIT_S, until

COIL = 7


class Taker:
    """Asks a source for its moments, on a thread of its own."""

    def __init__(self, source: TriggerSource) -> None:
        self.moments: list[Moment] = []
        self.error: Exception | None = None
        self.stands, self._stop = threading.Event(), threading.Event()
        self._source = source
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            for moment in self._source.moments(self._stop, self.stands.set):
                self.moments.append(moment)
        except LinkError as error:
            self.error = error

    def close(self) -> None:
        self._stop.set()
        self._thread.join(LIMIT_S)
        assert not self._thread.is_alive()


@contextmanager
def taking(source: TriggerSource) -> Iterator[Taker]:
    taker = Taker(source)
    try:
        assert taker.stands.wait(LIMIT_S)
        yield taker
    finally:
        taker.close()


@pytest.fixture
def plc() -> Iterator[Plc]:
    controller = Plc()
    yield controller
    controller.close()


@pytest.fixture(scope="module")
def server() -> Iterator[OpcUaServer]:
    running = OpcUaServer()
    yield running
    running.close()


@pytest.fixture
def pins() -> Iterator[MockFactory]:
    before, Device.pin_factory = Device.pin_factory, MockFactory()
    yield Device.pin_factory
    Device.pin_factory.reset()
    Device.pin_factory = before


def put(plc: Plc, on: bool) -> None:
    """And wait until it was read."""
    plc.set(COIL, on)
    before = plc.reads
    until(lambda: plc.reads >= before + 2)


def coil(plc: Plc, *, edge: EdgeKind = "rising", reset: bool = False) -> CoilTrigger:
    return CoilTrigger(f"127.0.0.1:{plc.port}", 1, COIL, edge, 0.001, reset=reset)


@pytest.mark.parametrize(
    ("kind", "counts"), [("rising", [True, False]), ("falling", [False, True]), ("both", [True] * 2)]
)
def test_an_edge_is_a_change_in_the_direction_that_counts(kind: EdgeKind, counts: list[bool]) -> None:
    assert [is_edge(False, True, kind), is_edge(True, False, kind)] == counts
    assert not is_edge(True, True, kind)


def test_a_timer_triggers_evenly_and_leaves_out_what_it_missed() -> None:
    with taking(Timer(0.01)) as taker:
        until(lambda: len(taker.moments) >= 3)
    gaps = [after.monotonic - before.monotonic for before, after in zip(taker.moments, taker.moments[1:], strict=False)]
    assert min(gaps) > 0.005


@pytest.mark.parametrize(("pull", "edge", "levels"), [
    ("down", "rising", [1, 0, 1, 0]), ("up", "falling", [0, 1, 0, 1]), ("up", "rising", [0, 1, 0, 1]),
    ("none", "rising", [1, 0, 1, 0]),
])  # fmt: skip
def test_a_pin_triggers_at_its_edges(pins: MockFactory, pull: str, edge: EdgeKind, levels: list[int]) -> None:
    pin = pins.pin("GPIO17")
    if pull == "none":
        pin.drive_low()
    with taking(GpioTrigger("GPIO17", pull, edge, 0.0)) as taker:  # type: ignore[arg-type]
        for level in levels:
            pin.drive_high() if level else pin.drive_low()
        until(lambda: len(taker.moments) == 2)


def test_edges_that_bounce_count_once(pins: MockFactory) -> None:
    pin = pins.pin("GPIO17")
    with taking(GpioTrigger("GPIO17", "down", "both", 60.0)) as taker:
        for _ in range(5):
            pin.drive_high()
            pin.drive_low()
        until(lambda: taker.moments)
    assert len(taker.moments) == 1


@pytest.mark.usefixtures("pins")
def test_a_pin_that_is_taken_is_said() -> None:
    with taking(GpioTrigger("GPIO17", "down", "rising", 0.0)):
        other = Taker(GpioTrigger("GPIO17", "down", "rising", 0.0))
        until(lambda: other.error)
        other.close()
    assert "pin GPIO17 cannot be opened" in str(other.error)


def test_a_coil_triggers_where_it_rises(plc: Plc) -> None:
    """What it was at first is no edge."""
    plc.set(COIL, True)
    with taking(coil(plc)) as taker:
        put(plc, False)
        put(plc, True)
        until(lambda: taker.moments)
    assert len(taker.moments) == 1
    assert plc.values(COIL) == []


def test_a_coil_that_stands_is_a_request_and_is_written_back(plc: Plc) -> None:
    plc.set(COIL, True)
    with taking(coil(plc, reset=True)) as taker:
        until(lambda: plc.values(COIL) == [0])
        plc.set(COIL, True)
        until(lambda: plc.values(COIL) == [0, 0])
    assert len(taker.moments) == 2


def test_a_request_that_was_taken_is_answered_after_the_controller_was_away(plc: Plc) -> None:
    """It could not be written back in time: it is one part all the same."""
    source = coil(plc, reset=True)
    moments = source.moments(threading.Event(), lambda: None)
    plc.set(COIL, True)
    next(moments)
    plc.switch_off()
    with pytest.raises(LinkError, match=f"modbus 127.0.0.1:{plc.port}"):
        next(moments)
    plc.switch_on()
    plc.set(COIL, True)
    with taking(source) as taker:
        until(lambda: plc.values(COIL) == [0])
        plc.set(COIL, True)
        until(lambda: len(plc.values(COIL)) == 2)
    assert len(taker.moments) == 1


def test_a_controller_that_goes_away_is_lost_and_its_edges_are_not_made_up(plc: Plc) -> None:
    with taking(coil(plc)) as taker:
        plc.switch_off()
        until(lambda: taker.error)
    assert f"modbus 127.0.0.1:{plc.port}" in str(taker.error)
    plc.switch_on()
    plc.set(COIL, True)
    with taking(coil(plc)) as again:
        put(plc, False)
        put(plc, True)
        until(lambda: again.moments)
    assert taker.moments == []
    assert len(again.moments) == 1


@pytest.mark.parametrize(("node", "values"), [("reject", [True, False, True]), ("count", [1, 2, 0])])
def test_a_node_triggers_where_it_rises(server: OpcUaServer, node: str, values: list[int]) -> None:
    server.set(node, 0)
    with taking(NodeTrigger(server.url, f"ns=2;s={node}", "rising")) as taker:
        for value in values:
            server.set(node, value)
        until(lambda: len(taker.moments) == 2)


def test_a_server_that_goes_away_is_lost(server: OpcUaServer) -> None:
    link = Proxy(server.port)
    url = f"opc.tcp://127.0.0.1:{link.port}/?token=geheim"
    with taking(NodeTrigger(url, "ns=2;s=reject", "rising")) as taker:
        link.refuses = True
        link.cut()
        until(lambda: taker.error)
    link.close()
    assert str(taker.error) == f"opcua opc.tcp://127.0.0.1:{link.port}/?***: the connection was lost"


@pytest.mark.parametrize("make", [
    lambda: CoilTrigger("127.0.0.1:1", 1, COIL, "rising", 0.01, reset=False),
    lambda: NodeTrigger("opc.tcp://127.0.0.1:1", "ns=2;s=a", "rising"),
])  # fmt: skip
def test_one_that_cannot_be_reached_is_said(make: Callable[[], TriggerSource]) -> None:
    with pytest.raises(LinkError, match="cannot be reached"):
        next(iter(make().moments(threading.Event(), lambda: None)))
