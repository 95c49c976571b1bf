from __future__ import annotations

import json
import socket
import threading
from typing import cast

import pytest
from pydantic import SecretStr

from lineside.devices.errors import LinkError
from lineside.edge.errors import ConfigError
from lineside.edge.outputs.job import NOBODY
from lineside.edge.outputs.payload import Payload
from lineside.edge.outputs.wires import Told, open_wire
from lineside.edge.outputs_config import OutputConfig
from lineside.edge.wire.mqtt import Connection

ABOUT = {**NOBODY, "verdict": "fail", "camera": "top", "part_id": "p7", "id": "i"}
ONLY_ON = "{% if on %}reject {{ part_id }}{% endif %}"


class Sent:
    def __init__(self) -> None:
        self.messages: list[tuple[bytes, str]] = []

    def send(self, body: bytes, content_type: str) -> None:
        self.messages.append((body, content_type))


def told(config: OutputConfig) -> tuple[Told, Sent]:
    sent = Sent()
    return Told(sent, Payload("reject", config)), sent


def test_a_payload_says_what_it_is_and_of_which_part() -> None:
    wire, sent = told(OutputConfig("mqtt", topic="t"))
    wire.set(True, ABOUT)
    ((body, kind),) = sent.messages
    assert kind == "application/json"
    assert json.loads(body) == {"on": True, "output": "reject", "captured_at": "", **ABOUT}


def test_a_template_that_makes_nothing_sends_nothing() -> None:
    wire, sent = told(OutputConfig("http", address="http://relay", payload=ONLY_ON))
    wire.set(False, ABOUT)
    wire.set(True, ABOUT)
    assert sent.messages == [(b"reject p7", "text/plain")]
    assert not wire.probe()


def test_a_heartbeat_counts() -> None:
    wire, sent = told(OutputConfig("mqtt", topic="t", heartbeat_s=1))
    wire.count(3)
    assert json.loads(sent.messages[0][0]) == {"count": 3, "output": "reject"}


def test_a_template_that_fails_is_an_error_of_that_part() -> None:
    wire, sent = told(OutputConfig("mqtt", topic="t", payload={"n": "{{ 1 / (part_id | length - 2) }}"}))
    with pytest.raises(LinkError, match=r"`outputs\.reject\.payload` cannot be made"):
        wire.set(True, ABOUT)
    assert sent.messages == []


def test_a_secret_header_is_the_variable_of_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RELAY_KEY", "geheim")
    with socket.create_server(("127.0.0.1", 0)) as relay:
        address = f"http://127.0.0.1:{relay.getsockname()[1]}/"
        config = OutputConfig("http", address=address, method="GET", headers={"X-Key": SecretStr("$RELAY_KEY")})
        wire = open_wire("reject", config, cast(Connection, None))
        caller = threading.Thread(target=wire.set, args=(True, ABOUT))
        caller.start()
        client, _ = relay.accept()
        with client:
            assert b"\r\nX-Key: geheim\r\n" in client.recv(4096)
            client.sendall(b"HTTP/1.0 204 Done\r\n\r\n")
        caller.join()
    assert "RELAY_KEY" not in repr(config)
    monkeypatch.delenv("RELAY_KEY")
    with pytest.raises(ConfigError, match=r"`outputs.reject.headers.X-Key`: there is no variable RELAY_KEY"):
        open_wire("reject", config, cast(Connection, None))


def test_a_pin_that_cannot_be_had_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPIOZERO_PIN_FACTORY", "nothing")
    with pytest.raises(ConfigError, match=r"`outputs.lamp.pin`: gpio GPIO17: cannot be used"):
        open_wire("lamp", OutputConfig("gpio", pin="GPIO17"), cast(Connection, None))
