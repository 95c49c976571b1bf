"""How a station gets to a broker: TLS and which check fails, certificates, passwords, websockets, several brokers."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lineside.edge.mqtt_config import MqttConfig
from tests.support.broker import Mosquitto, free_port
from tests.support.client import Client
from tests.support.line import Line
from tests.support.secured import SecuredMosquitto, make_certificate, password_of

HOST = "127.0.0.1"
EVERYTHING = "user press4\ntopic readwrite #\n"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lineside.edge.wire.network.FIRST_WAIT_S", 0.05)
    monkeypatch.setattr("lineside.edge.wire.network.LONGEST_WAIT_S", 0.2)


def config(broker: Mosquitto, **changes: object) -> MqttConfig:
    return MqttConfig(**({"host": HOST, "port": broker.port} | dict(broker.station_access) | changes))  # type: ignore[arg-type]


@pytest.fixture
def secured_broker(tmp_path: Path, broker_files: Path) -> Iterator[SecuredMosquitto]:
    broker = SecuredMosquitto(tmp_path, broker_files, rules=EVERYTHING)
    yield broker
    broker.stop()


def cause(config: MqttConfig, count: int = 1) -> str:
    with Line(0, config=config) as line:
        line.wait_until(lambda: len(line.causes) >= count, "no cause")
    return line.causes[0]


def goes_through(config: MqttConfig) -> None:
    """Both ways: a message of several packets, and small ones. (Mosquitto 2.0 takes 0.1 s for 4 KB by websockets.)"""
    payloads = [b"x" * 9_000, *(str(number).encode() for number in range(15))]
    with Line(0, config=config) as line:
        line.wait_online()
        for payload in payloads:
            line.connection.publish("in/x", payload)
        line.wait_for(*payloads)


# TLS


def test_tls_and_a_password(secured_broker: SecuredMosquitto) -> None:
    goes_through(config(secured_broker))


def test_an_unknown_issuer_is_named(secured_broker: SecuredMosquitto, tmp_path: Path) -> None:
    make_certificate(tmp_path / "other", "broker", "localhost")
    said = cause(config(secured_broker, ca_file=str(tmp_path / "other/ca.crt")))
    assert said.startswith(f"TLS with {HOST}:{secured_broker.port}: the broker's certificate is refused (")
    assert "nobody that this station trusts has issued it: give its issuer's certificate as `mqtt.ca_file`" in said


@pytest.mark.parametrize(
    ("name", "days", "words"),
    [
        (
            "127.0.0.2",
            1,
            "(IP address mismatch, certificate is not valid for '127.0.0.1'): it is for another name than",
        ),
        (HOST, 0, "(certificate has expired): renew it, or is this machine's clock wrong?"),
    ],
)
def test_the_check_that_fails_is_named(tmp_path: Path, broker_files: Path, name: str, days: int, words: str) -> None:
    files = tmp_path / "files"
    make_certificate(files, "broker", name, days=days)
    for file in ("passwords", "acl"):
        (files / file).write_bytes((broker_files / file).read_bytes())
    broker = SecuredMosquitto(tmp_path, files)
    said = cause(config(broker))
    broker.stop()
    assert f"TLS with {HOST}:{broker.port}: the broker's certificate is refused {words}" in said


def test_a_port_without_tls_is_named(broker: Mosquitto) -> None:
    said = cause(config(broker, tls=True))
    assert said.startswith(f"{HOST}:{broker.port} closes the connection during its greeting: is it the port for TLS")


def test_a_port_with_tls_is_named(secured_broker: SecuredMosquitto) -> None:
    said = cause(config(secured_broker, tls=False, ca_file=""))
    assert said.startswith(f"{HOST}:{secured_broker.port} closes the connection without an answer")
    assert said.endswith("does it want TLS (`mqtt.tls`)?")


@pytest.fixture
def demanding(tmp_path: Path, broker_files: Path) -> Iterator[SecuredMosquitto]:
    """It asks for certificates instead of passwords."""
    lines = ("require_certificate", "use_identity_as_username")
    broker = SecuredMosquitto(tmp_path, broker_files, rules=EVERYTHING, uncommented=lines)
    yield broker
    broker.stop()


def test_a_certificate_that_is_wanted_is_named(demanding: SecuredMosquitto) -> None:
    said = cause(config(demanding))
    assert "the broker wants a certificate: give `mqtt.cert_file` and `mqtt.key_file`" in said, said


def test_a_certificate_in_place_of_a_password(demanding: SecuredMosquitto) -> None:
    files = demanding.files
    own = {"cert_file": str(files / "press4.crt"), "key_file": str(files / "press4.key")}
    without = {"username": "", "password": ""}
    goes_through(config(demanding, **own, **without))


def test_a_certificate_of_somebody_else_is_named(demanding: SecuredMosquitto, tmp_path: Path) -> None:
    make_certificate(tmp_path / "other", "client", "press4")
    files = tmp_path / "other"
    own = {"cert_file": str(files / "press4.crt"), "key_file": str(files / "press4.key")}
    assert "the broker does not take the certificate in `mqtt.cert_file`" in cause(config(demanding, **own))


def test_a_handshake_that_hangs_does_not_hold_up_the_end() -> None:
    with socket.create_server((HOST, 0)) as server:
        line = Line(0, config=MqttConfig(host=HOST, port=server.getsockname()[1], tls=True))
        line.connection.start()
        accepted, _ = server.accept()
        accepted.recv(1)  # of its greeting, which nobody answers
        begun = time.monotonic()
        line.connection.stop()
        assert time.monotonic() - begun < 4  # a handshake may take 5 s
        accepted.close()


# Passwords


def test_the_password_file_is_read_at_each_connect(
    secured_broker: SecuredMosquitto, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "password"
    own = config(secured_broker, password="", password_file=str(path))
    with Line(0, config=own) as line:
        line.wait_until(lambda: len(line.causes) == 1, "no cause")
        path.write_text("wrong\n")
        line.wait_until(lambda: len(set(line.causes)) == 2, "no second cause")
        path.write_text(f"{password_of('press4')}\n")
        line.wait_online()
    missing, refused = dict.fromkeys(line.causes)
    assert missing == f"`mqtt.password_file`: {path}: No such file or directory"
    assert refused.endswith(
        "refused the connection: Not authorized; check `mqtt.username`, its password and the access rules"
    )
    assert password_of("press4") not in caplog.text


# Websockets


def test_websockets(tmp_path: Path) -> None:
    broker = Mosquitto(tmp_path)
    broker.stop()
    lines = (tmp_path / "mosquitto.conf").read_text()
    port = free_port()
    (tmp_path / "mosquitto.conf").write_text(f"{lines}\nlistener {port} {HOST}\nprotocol websockets\n")
    broker.start()
    goes_through(config(broker, port=port, transport="websockets"))
    assert "does not speak websockets" in cause(config(broker, transport="websockets", port=broker.port))
    broker.stop()


def test_websockets_with_tls(tmp_path: Path, broker_files: Path) -> None:
    lines = ("listener 8884", "protocol", "cafile", "certfile", "keyfile")
    broker = SecuredMosquitto(tmp_path, broker_files, rules=EVERYTHING, uncommented=lines)
    goes_through(config(broker, transport="websockets", port=broker.websocket_port))
    broker.stop()


# Several brokers


def test_the_next_broker_is_taken_and_after_a_loss_the_first_again(tmp_path: Path) -> None:
    """The connection for frames goes where the one for the rest is."""
    for name in ("1", "2"):
        (tmp_path / name).mkdir()
    first, second = Mosquitto(tmp_path / "1"), Mosquitto(tmp_path / "2")
    first.stop()
    own = MqttConfig(host=HOST, port=free_port(), fallback_hosts=(f"{HOST}:{first.port}", f"{HOST}:{second.port}"))
    with Line(0, config=own) as line, Line(0, config=own, client_id="frames", leader=line.connection) as frames:
        line.wait_online()
        frames.connection.connect_now()
        frames.wait_online()
        assert ["nothing listens there" in cause for cause in line.causes] == [True, True]
        first.start()
        line.connection.drop()
        line.wait_online(2)
        frames.connection.connect_now()
        frames.wait_online(2)
        clients = [Client(broker, "nothing") for broker in (first, second)]
        clients[1].publish("in/x", "second")
        clients[0].publish("in/x", "first")
        line.wait_for(b"first")
        frames.wait_for(b"first")
        for client in clients:
            client.close()
    first.stop()
    second.stop()


def test_a_round_without_a_broker_ends_in_a_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lineside.edge.wire.network.FIRST_WAIT_S", 60.0)
    own = MqttConfig(host=HOST, port=free_port(), fallback_hosts=(f"{HOST}:{free_port()}",))
    with Line(0, config=own) as line:
        line.wait_until(lambda: len(line.causes) == 2, "no second cause")
        threading.Event().wait(0.1)
        assert len(line.causes) == 2
