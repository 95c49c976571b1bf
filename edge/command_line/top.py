"""`lineside top`: a station live on the terminal, from what it says over MQTT alone."""

from __future__ import annotations

import argparse
import dataclasses
import os
import queue
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from lineside.edge.command_line.fail import fail
from lineside.edge.errors import BrokerError, ConfigError

if TYPE_CHECKING:
    from lineside.edge.mqtt_config import MqttConfig

EVERY_S = 0.5
PATIENCE_S = 30.0
"""For a connection, and with `--once` for a station to be complete: `health` comes every ten seconds."""
PORTS = {"mqtt": 1883, "mqtts": 8883}


def top(options: argparse.Namespace) -> int:
    if (options.station is None) == (not options.broker):
        return fail("name a station file, or --broker mqtt://HOST/TOPIC with the station's base topic", 2)
    base, access = _address(options.broker) if options.broker else _of_station(options.station)
    return watch(base, access, once=options.once)


def watch(base: str, access: MqttConfig, *, once: bool, console: Any = None) -> int:
    """Until Ctrl-C, or `once` until the screen is complete. Raises BrokerError, ConfigError."""
    from rich.console import Console
    from rich.live import Live

    from lineside.edge.screen import Screen

    console = console or Console()
    screen, messages = Screen(base), queue.Queue[tuple[str, bytes]]()
    client = _connect(base, access, messages)
    try:
        if once:
            deadline = time.monotonic() + PATIENCE_S
            while not screen.complete:
                _take(screen, messages, deadline - time.monotonic())
                if time.monotonic() > deadline:
                    raise BrokerError(f"no station says anything below {base}: is that its base topic, does it run?")
            console.print(screen.draw())
            return 0
        with Live(screen.draw(), console=console, screen=console.is_terminal, auto_refresh=False) as live:
            while True:
                _take(screen, messages, EVERY_S)
                live.update(screen.draw(), refresh=True)
    finally:
        client.disconnect()
        client.loop_stop()


def _take(screen: Any, messages: queue.Queue[tuple[str, bytes]], wait_s: float) -> None:
    """All that has come; wait for the first."""
    try:
        screen.take(*messages.get(timeout=max(wait_s, 0.0)))
        while True:
            screen.take(*messages.get_nowait())
    except queue.Empty:
        return


def _connect(base: str, access: MqttConfig, messages: queue.Queue[tuple[str, bytes]]) -> Any:
    """Raises BrokerError where nobody answers, or lets us in."""
    import paho.mqtt.client as paho
    from paho.mqtt.enums import CallbackAPIVersion

    from lineside.edge.broker_access import read_password, tls_context
    from lineside.edge.screen import WATCHED
    from lineside.edge.wire.causes import explain

    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5, transport=access.transport)
    answers: queue.Queue[str] = queue.Queue()

    def connected(_client: Any, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if not reason.is_failure:
            client.subscribe([(f"{base}/{topic}", 0) for topic in WATCHED])
        answers.put(str(reason) if reason.is_failure else "")

    client.on_connect = connected
    client.on_message = lambda _client, _data, message: messages.put((message.topic, bytes(message.payload)))
    if access.transport == "websockets":
        client.ws_set_options(path=access.websocket_path)
    if (context := tls_context(access)) is not None:
        client.tls_set_context(context)
    if access.username:
        client.username_pw_set(access.username, read_password(access))
    try:
        client.connect(access.host, access.port, access.keepalive_s)
    except (OSError, ValueError) as error:
        raise BrokerError(explain(error, access.host, access.port)) from error
    client.loop_start()
    try:
        refused = answers.get(timeout=PATIENCE_S)
    except queue.Empty:
        refused = "it does not answer"
    if refused:
        client.loop_stop()
        raise BrokerError(f"the broker at {access.host}:{access.port} does not let us in: {refused}")
    return client


def _of_station(path: Path) -> tuple[str, MqttConfig]:
    from lineside.edge.station_file import load_config

    config = load_config(path / "station.toml" if path.is_dir() else path)
    return config.base_topic, config.broker_access


def _address(text: str) -> tuple[str, MqttConfig]:
    """Of `mqtt://user:password@host:port/base/topic`; the password may stand in `LINESIDE_MQTT__PASSWORD`."""
    from pydantic import SecretStr

    from lineside.edge.mqtt_config import MqttConfig

    try:
        parts = urlsplit(text)
        port = parts.port or PORTS[parts.scheme]
    except (ValueError, KeyError):
        parts, port = urlsplit(""), 0
    base = unquote(parts.path.strip("/"))
    if not parts.hostname or not base or any(mark in base for mark in "#+"):
        raise ConfigError("--broker takes an address with the base topic, such as mqtts://user@host/lineside/press4")
    password = unquote(parts.password or "") or os.environ.get("LINESIDE_MQTT__PASSWORD", "")
    access = MqttConfig(host=parts.hostname, port=port, tls=parts.scheme == "mqtts")
    return base, dataclasses.replace(access, username=unquote(parts.username or ""), password=SecretStr(password))
