from __future__ import annotations

import queue
from collections.abc import Iterator

import pytest

from lineside.devices.errors import LinkError
from lineside.devices.opcua import OpcUaLink
from tests.support.plc import OpcUaServer, deaf_controller, free_port
from tests.support.proxy import Proxy
from tests.support.wait import LIMIT_S, until


@pytest.fixture(scope="module")
def server() -> Iterator[OpcUaServer]:
    server = OpcUaServer()
    yield server
    server.close()


@pytest.fixture
def link(server: OpcUaServer) -> Iterator[OpcUaLink]:
    link = OpcUaLink(server.url, timeout_s=10)
    link.start()
    yield link
    link.close()


def test_a_value_is_written_as_the_type_of_its_node(server: OpcUaServer, link: OpcUaLink) -> None:
    link.write("ns=2;s=reject", True)
    link.write("ns=2;s=count", True)
    link.write("ns=2;s=speed", 2)
    assert (server.value("reject"), server.value("count"), server.value("speed")) == (True, 1, 2.0)
    assert link.read("ns=2;s=reject") is True


def test_a_refusal_names_the_node(link: OpcUaLink) -> None:
    with pytest.raises(LinkError, match="refuses node ns=2;s=nothing"):
        link.write("ns=2;s=nothing", True)
    with pytest.raises(LinkError, match="ns=2;s=count does not take this value"):
        link.write("ns=2;s=count", "much")


def test_what_is_no_node_is_said_and_costs_no_connection(link: OpcUaLink) -> None:
    with pytest.raises(LinkError, match=r"'Line1[.]Reject' is no node"):
        link.write("Line1.Reject", True)
    assert _answers(link)
    assert not link._lost.is_set()


@pytest.mark.parametrize(
    ("node", "said"), [("ns=2;s=nothing", "refuses node ns=2;s=nothing"), ("ns=2;q=x", "'ns=2;q=x' is no node")]
)
def test_a_watched_node_that_is_not_there_is_not_a_server_that_is_away(
    server: OpcUaServer, node: str, said: str
) -> None:
    link = OpcUaLink(server.url, timeout_s=10)
    link.subscribe(node, lambda _value: None)
    link.start()
    with pytest.raises(LinkError, match=said):
        link.read(node)
    link.close()


def test_a_watched_node_is_told_at_each_change_and_after_the_server_was_away(server: OpcUaServer) -> None:
    server.set("reject", False)
    line = Proxy(server.port)
    told: queue.Queue[bool] = queue.Queue()
    link = OpcUaLink(f"opc.tcp://127.0.0.1:{line.port}", timeout_s=10)
    link.subscribe("ns=2;s=reject", told.put)
    link.start()
    assert told.get(timeout=LIMIT_S) is False
    server.set("reject", True)
    assert told.get(timeout=LIMIT_S) is True
    line.refuses = True
    line.cut()
    until(lambda: not _answers(link))
    server.set("reject", False)
    line.refuses = False
    assert told.get(timeout=LIMIT_S) is False
    until(lambda: _answers(link))
    link.close()
    line.close()


def _answers(link: OpcUaLink) -> bool:
    try:
        link.read("ns=2;s=reject")
    except LinkError:
        return False
    return True


def test_nobody_there() -> None:
    link = OpcUaLink(f"opc.tcp://op:geheim@127.0.0.1:{free_port()}", timeout_s=1)
    link.start()
    with pytest.raises(LinkError, match=r"opcua opc\.tcp://\*\*\*@127\.0\.0\.1:\d+: cannot be reached"):
        link.write("ns=2;s=reject", True)
    link.close()
    with pytest.raises(LinkError, match="closed"):
        link.read("ns=2;s=reject")


def test_a_server_that_never_answers_is_an_error_after_the_timeout() -> None:
    with deaf_controller() as port:
        link = OpcUaLink(f"opc.tcp://127.0.0.1:{port}", timeout_s=0.1)
        link.start()
        with pytest.raises(LinkError, match="cannot be reached"):
            link.read("ns=2;s=reject")
        link.close()
