"""The demo: a station plays its pictures; a second client watches the broker, sends a command, carries out the call."""

from __future__ import annotations

import dataclasses
import json
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from pydantic import SecretStr

from lineside.edge.config import Config
from lineside.edge.daemon import Daemon
from lineside.edge.demo.broker import embedded_broker
from lineside.edge.demo.watcher import PATIENCE_S, Watcher
from lineside.edge.errors import BrokerError, ConfigError
from lineside.edge.inspection.evidence import COLORS
from lineside.edge.station_file import load_config

COMMAND = "set the belt to half speed"


@dataclass(frozen=True)
class Summary:
    results: int
    calls: int


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
        playing = _playing(config)
        _say(f"broker   {'' if broker else 'embedded, '}mqtt://{host}:{port}")
        _remove_old_evidence(output, config)
        watcher = _watch(config)
        stack.callback(watcher.close)
        daemon = stack.enter_context(Daemon(config))
        _say(f"model    {daemon.engine.bundle.manifest.name} {daemon.engine.bundle.sha256[:12]}")
        if not daemon.wait_online(PATIENCE_S):
            raise BrokerError(f"no connection to {host}:{port} {daemon.connection.problem}".rstrip())
        results = _print_results(watcher, playing)
        if dropped := daemon.counters.snapshot().get("frames_dropped", 0):
            _say(f"{dropped} frames of live video gave way to newer ones")
        calls = _print_command(watcher)
    _say(f"evidence pictures with boxes drawn: {output}")
    return Summary(results, calls)


def _configure(config: Config, host: str, port: int, user: str, password: str, output: Path, state: Path) -> Config:
    mqtt = dataclasses.replace(
        config.mqtt, host=host, port=port, username=user, password=SecretStr(password), session_expiry_s=0
    )
    inspect = dataclasses.replace(config.inspect, evidence_folder=str(output.absolute()))
    store = dataclasses.replace(config.store, path=str(state / "lineside.db"))
    history = dataclasses.replace(config.history, folder=str(state / "history"))
    return dataclasses.replace(config, mqtt=mqtt, inspect=inspect, store=store, history=history)


def _remove_old_evidence(output: Path, config: Config) -> None:
    """Only pictures that an earlier demo drew."""
    for camera in config.cameras:
        for verdict in COLORS:
            for path in output.glob(f"*Z_{camera}_*{verdict}_*.jpg"):
                path.unlink()


def _watch(config: Config) -> Watcher:
    try:
        return Watcher(config)
    except OSError as error:
        raise BrokerError(f"no broker at {config.mqtt.host}:{config.mqtt.port} ({error})") from error


def _playing(config: Config) -> int:
    """How many cameras have pictures of their own. Raises ConfigError where none has."""
    count = sum(camera.kind != "mqtt" for camera in config.cameras.values())
    if not count:
        raise ConfigError(f"{config.file}: the demo plays cameras of kind folder or video, and there is none")
    return count


def _print_results(watcher: Watcher, open_cameras: int) -> int:
    """One line a frame, until every camera has ended: it says so behind its last result."""
    _say(f"\n{'picture':<44} {'verdict':<8} {'conf.':>6} {'defects':<34} {'ms':>6}")
    count = 0
    while open_cameras:
        topic, payload = watcher.next()
        if topic.startswith(f"{watcher.topics.base}/result/"):
            _print_result(json.loads(payload))
            count += 1
        elif topic.startswith(f"{watcher.topics.base}/event/"):
            event = json.loads(payload)
            problem = (event.get("error") or {}).get("message", "")
            if event["event_type"] == "frame_rejected":
                _say(f"{event['name']:<44} rejected: {problem}")
            else:
                open_cameras -= 1
                if problem:
                    _say(problem)
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
    while True:
        topic, payload = watcher.next()
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
