"""The other end of an output, from its table of the station file."""

from __future__ import annotations

from typing import Protocol

from lineside.devices.actuators.actuator import Actuator
from lineside.devices.errors import LinkError
from lineside.edge.address import host_and_port
from lineside.edge.errors import ConfigError
from lineside.edge.outputs.job import NOBODY, About
from lineside.edge.outputs.payload import Payload
from lineside.edge.outputs.published import Published
from lineside.edge.outputs_config import OutputConfig
from lineside.edge.secret_value import value_of
from lineside.edge.wire.mqtt import Connection


class Wire(Protocol):
    """Each method returns when the other side has taken it, and raises LinkError where it has not, or nobody knows."""

    def connect(self) -> None:
        """Make the connection stand where that takes time; nothing changes at the other side."""

    def set(self, on: bool, about: About) -> None: ...

    def count(self, number: int) -> None: ...

    def probe(self) -> bool:
        """Whether that could be told: False where only the next message tells whether it can be reached."""

    def close(self) -> None: ...


class Switched:
    """An actuator that is on or off."""

    def __init__(self, actuator: Actuator) -> None:
        self._actuator = actuator

    def connect(self) -> None:
        self._actuator.connect()

    def set(self, on: bool, _about: About) -> None:
        self._actuator.set(on)

    def count(self, number: int) -> None:
        self._actuator.count(number)

    def probe(self) -> bool:
        self._actuator.probe()
        return True

    def close(self) -> None:
        self._actuator.close()


class Sender(Protocol):
    def send(self, body: bytes, content_type: str) -> None: ...


class Told:
    """One that gets a message of what it is to be."""

    def __init__(self, sender: Sender, payload: Payload) -> None:
        self._sender, self._payload = sender, payload

    def connect(self) -> None:
        if isinstance(self._sender, Published):
            self._sender.connect()

    def set(self, on: bool, about: About) -> None:
        self._send(on, 0, about)

    def count(self, number: int) -> None:
        self._send(number % 2 == 1, number, NOBODY)

    def probe(self) -> bool:
        if isinstance(self._sender, Published):
            self._sender.probe()
            return True
        return False

    def close(self) -> None:
        if isinstance(self._sender, Published):
            self._sender.close()

    def _send(self, on: bool, count: int, about: About) -> None:
        if (made := self._payload.make(on, count, about)) is not None:
            self._sender.send(*made)


def open_wire(name: str, config: OutputConfig, connection: Connection) -> Wire:
    """Loads the library of its kind; nothing is changed at the other end.

    Raises:
        ConfigError: it cannot be.
    """
    if config.kind == "modbus":
        return Switched(_modbus(config))
    if config.kind == "opcua":
        from lineside.devices.actuators.opcua import Node
        from lineside.devices.opcua import OpcUaLink

        return Switched(Node(OpcUaLink(config.address, config.timeout_s), config.node))
    if config.kind == "gpio":
        from lineside.devices.actuators.gpio import Pin

        try:
            return Switched(Pin(config.pin, config.active_high))
        except LinkError as error:
            raise ConfigError(f"`outputs.{name}.pin`: {error}") from error
    payload = Payload(name, config)
    if config.kind == "mqtt":
        return Told(Published(connection, config.topic, config.retain, config.timeout_s), payload)
    from lineside.devices.actuators.http import HttpCall

    headers = {key: value_of(secret, f"outputs.{name}.headers.{key}") for key, secret in config.headers.items()}
    return Told(HttpCall(config.address, config.method, headers, config.timeout_s), payload)


def _modbus(config: OutputConfig) -> Actuator:
    from lineside.devices.actuators.modbus import Coil, Register
    from lineside.devices.modbus import ModbusLink

    host, port = host_and_port(config.address)
    link = ModbusLink(host, port, config.unit, config.timeout_s)
    return Coil(link, config.coil) if config.coil is not None else Register(link, config.register or 0)
