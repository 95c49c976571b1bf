"""The demo: a station plays its pictures; a second client watches the broker, sends a command, carries out the call."""

from __future__ import annotations

import dataclasses
import json
import queue
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from pydantic import SecretStr

from lineside.edge.config import Config, load_config
from lineside.edge.daemon import Daemon
from lineside.edge.demo.broker import embedded_broker
from lineside.edge.errors import BrokerError, ConfigError
from lineside.edge.inspection.evidence import COLORS
from lineside.edge.wire.topics import Topics

COMMAND = "set the belt to half speed"
TIMEOUT_S = 45.0


@dataclass(frozen=True)
class Summary:
    results: int
    calls: int


class Watcher:
    """A plain MQTT client beside the daemon: everything that is printed came through the broker."""

    def __init__(self, config: Config) -> None:
        self.topics = Topics(config.base_topic)
        self.messages: queue.Queue[tuple[str, bytes]] = queue.Queue()
        client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
        if config.mqtt.username:
            client.username_pw_set(config.mqtt.username, config.mqtt.password.get_secret_value())
        client.on_connect = lambda c, *_: c.subscribe(f"{self.topics.base}/#", qos=1)
        client.on_message = self._handle
        client.connect(config.mqtt.host, config.mqtt.port)
        client.loop_start()
        self.client = client

    def _handle(self, client: paho.Client, _data: Any, message: paho.MQTTMessage) -> None:
        if message.retain:
            return
        tool = message.topic.removeprefix(f"{self.topics.base}/call/")
        if tool != message.topic:  # play the actuator
            call = json.loads(message.payload)
            done = {"id": call["id"], "outcome": "achieved", "detail": f"{tool} done"}
            client.publish(self.topics.returned(tool), json.dumps(done), qos=1)
        self.messages.put((message.topic, bytes(message.payload)))

    def send_command(self, text: str) -> None:
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        properties.ResponseTopic = self.topics.response("ask")
        properties.CorrelationData = b"demo-1"
        self.client.publish(self.topics.command("ask"), text, qos=1, properties=properties)

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


def run_demo(station: Path, broker: str, output: Path) -> Summary:
    """Play the station once. `broker` is an mqtt:// address, or empty for the embedded broker.

    Raises:
        BrokerError, ConfigError and what `Daemon` raises.
    """
    with ExitStack() as stack:
        host, port, user, password = _address(broker) if broker else ("127.0.0.1", 0, "", "")
        if not broker:
            port = stack.enter_context(embedded_broker())
        state = stack.enter_context(tempfile.TemporaryDirectory())
        config = _configure(load_config(station), host, port, user, password, output, Path(state))
        _say(f"broker   {'' if broker else 'embedded, '}mqtt://{host}:{port}")
        _remove_old_evidence(output, config)
        watcher = _watch(config)
        stack.callback(watcher.close)
        daemon = stack.enter_context(Daemon(config))
        _say(f"model    {daemon.engine.bundle.manifest.name} {daemon.engine.bundle.sha256[:12]}")
        if not daemon.wait_online(10.0):
            raise BrokerError(f"no connection to {host}:{port} within 10 s {daemon.connection.refused}".rstrip())
        results = _print_results(watcher, config)
        calls = _print_command(watcher)
    _say(f"evidence pictures with boxes drawn: {output}")
    return Summary(results, calls)


def _configure(config: Config, host: str, port: int, user: str, password: str, output: Path, state: Path) -> Config:
    mqtt = dataclasses.replace(
        config.mqtt, host=host, port=port, username=user, password=SecretStr(password), session_expiry_s=0
    )
    inspect = dataclasses.replace(config.inspect, evidence_folder=str(output.absolute()))
    store = dataclasses.replace(config.store, path=str(state / "lineside.db"))
    return dataclasses.replace(config, mqtt=mqtt, inspect=inspect, store=store)


def _remove_old_evidence(output: Path, config: Config) -> None:
    """Only pictures that an earlier demo drew."""
    for camera in config.cameras:
        for verdict in COLORS:
            for path in output.glob(f"{camera}_*_{verdict}.jpg"):
                path.unlink()


def _watch(config: Config) -> Watcher:
    try:
        return Watcher(config)
    except OSError as error:
        raise BrokerError(f"no broker at {config.mqtt.host}:{config.mqtt.port} ({error})") from error


def _print_results(watcher: Watcher, config: Config) -> int:
    """One line a frame, until every camera has ended."""
    _say(f"\n{'picture':<44} {'verdict':<8} {'conf.':>6} {'defects':<34} {'ms':>6}")
    open_cameras = len(config.cameras)
    count = 0
    deadline = time.monotonic() + TIMEOUT_S
    while open_cameras and time.monotonic() < deadline:
        topic, payload = _next(watcher, deadline)
        if topic.startswith(f"{watcher.topics.base}/result/"):
            _print_result(json.loads(payload))
            count += 1
        elif topic.startswith(f"{watcher.topics.base}/event/"):
            event = json.loads(payload)
            if event["event_type"] == "frame_rejected":
                _say(f"{event['name']:<44} rejected: {event['error']['message']}")
            else:
                open_cameras -= 1
    time.sleep(0.5)  # the last frame may still be in the engine when its camera has ended
    while not watcher.messages.empty():
        topic, payload = watcher.messages.get()
        if topic.startswith(f"{watcher.topics.base}/result/"):
            _print_result(json.loads(payload))
            count += 1
    return count


def _print_result(result: dict[str, Any]) -> None:
    boxes = [f"{d['type']} {'/'.join(str(round(v)) for v in d['box'])}" for d in result["defects"]]
    found = f"{boxes[0]} +{len(boxes) - 1}" if len(boxes) > 1 else "".join(boxes)
    timing = result["timing_ms"]["total"]
    _say(f"{result['name']:<44} {result['verdict']:<8} {result['confidence']:>6.1%} {found:<34} {timing:>6.0f}")


def _print_command(watcher: Watcher) -> int:
    """Send the command; print the call and the reply. Returns how many calls were achieved."""
    _say(f'\ncommand  "{COMMAND}"')
    watcher.send_command(COMMAND)
    deadline = time.monotonic() + 15.0
    while time.monotonic() < deadline:
        topic, payload = _next(watcher, deadline)
        if topic.startswith(f"{watcher.topics.base}/call/"):
            call = json.loads(payload)
            _say(f"call     {call['tool']}({json.dumps(call['arguments'])})")
        elif topic == watcher.topics.response("ask"):
            reply = json.loads(payload)
            for item in reply["calls"]:
                _say(f"reply    {item['name']}: {item['outcome']}  ({reply['timing_ms'].get('total', 0):.0f} ms)")
            if not reply["calls"]:
                _say(f"reply    {reply['text'] or reply.get('error')}")
            return sum(item["outcome"] == "achieved" for item in reply["calls"])
    return 0


def _next(watcher: Watcher, deadline: float) -> tuple[str, bytes]:
    try:
        return watcher.messages.get(timeout=max(deadline - time.monotonic(), 0.01))
    except queue.Empty:
        return "", b""


def _address(url: str) -> tuple[str, int, str, str]:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or 1883
    except ValueError:
        host, port = None, 0
    if parts.scheme != "mqtt" or not host:
        raise ConfigError("--broker takes an address such as mqtt://host:1883 or mqtt://user:password@host:1883")
    return host, port, unquote(parts.username or ""), unquote(parts.password or "")


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
