"""The demo: a station runs, and the world around it is played: parts pass, pictures come, somebody says something.

Everything that is printed came through the broker, or from the PLC.
"""

from __future__ import annotations

import dataclasses
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import unquote, urlsplit

from pydantic import SecretStr

from lineside.edge.config import Config
from lineside.edge.daemon import Daemon
from lineside.edge.demo.broker import embedded_broker
from lineside.edge.demo.plc import PlcServer
from lineside.edge.demo.scene import Scene, read_scene
from lineside.edge.demo.shown import Printer
from lineside.edge.demo.watcher import PATIENCE_S, Watcher
from lineside.edge.errors import BrokerError, ConfigError
from lineside.edge.inspection.evidence import COLORS
from lineside.edge.station_file import load_config


@dataclasses.dataclass(frozen=True)
class Summary:
    """What came: results of how many that were expected, and sentences of which something else came than should."""

    results: int
    expected: int
    wrong: tuple[str, ...]


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
        config, scene = load_config(station), read_scene(station.parent)
        config = _configure(config, host, port, user, password, output, Path(state))
        shown, plc = Printer(), None
        if scene.plc is not None:
            plc = PlcServer(scene.plc, shown.switched)
            stack.callback(plc.close)
            config = _wired(config, plc.port)
        _say(f"broker   {'' if broker else 'embedded, '}mqtt://{host}:{port}")
        _remove_old_evidence(output, config)
        watcher = _watch(config, scene)
        stack.callback(watcher.close)
        daemon = stack.enter_context(Daemon(config))
        _say(f"model    {daemon.engine.bundle.manifest.name} {daemon.engine.bundle.sha256[:12]}")
        if not daemon.wait_online(PATIENCE_S):
            raise BrokerError(f"no connection to {host}:{port} {daemon.connection.problem}".rstrip())
        results, expected = 0, 0
        if scene.plc is not None and plc is not None:
            results, expected = shown.parts(watcher, plc, scene.plc), scene.plc.parts
        elif playing := sum(camera.kind != "mqtt" for camera in config.cameras.values()):
            results = shown.results(watcher, playing)
            expected = max(results, 1)
        if dropped := daemon.counters.snapshot().get("frames_dropped", 0):
            _say(f"{dropped} frames of live video gave way to newer ones")
        wrong = shown.steps(watcher, scene)
    if results:
        _say(f"evidence pictures with boxes drawn: {output}")
    return Summary(results, expected, tuple(wrong))


def _configure(config: Config, host: str, port: int, user: str, password: str, output: Path, state: Path) -> Config:
    mqtt = dataclasses.replace(
        config.mqtt, host=host, port=port, username=user, password=SecretStr(password), session_expiry_s=0
    )
    inspect = dataclasses.replace(config.inspect, evidence_folder=str(output.absolute()))
    store = dataclasses.replace(config.store, path=str(state / "lineside.db"))
    history = dataclasses.replace(config.history, folder=str(state / "history"))
    return dataclasses.replace(config, mqtt=mqtt, inspect=inspect, store=store, history=history)


def _wired(config: Config, port: int) -> Config:
    """With the demo's PLC in the place of the station's."""
    address = f"127.0.0.1:{port}"
    triggers = {
        name: dataclasses.replace(one, address=address) if one.kind == "modbus" else one
        for name, one in config.triggers.items()
    }
    outputs = {
        name: dataclasses.replace(one, address=address) if one.kind == "modbus" else one
        for name, one in config.outputs.items()
    }
    return dataclasses.replace(config, triggers=triggers, outputs=outputs)


def _remove_old_evidence(output: Path, config: Config) -> None:
    """Only pictures that an earlier demo drew."""
    for camera in config.cameras:
        for verdict in COLORS:
            for path in output.glob(f"*Z_{camera}_*{verdict}_*.jpg"):
                path.unlink()


def _watch(config: Config, scene: Scene) -> Watcher:
    try:
        watcher = Watcher(config, scene.devices)
    except OSError as error:
        raise BrokerError(f"no broker at {config.mqtt.host}:{config.mqtt.port} ({error})") from error
    for step in scene.before():
        watcher.say(step.topic, step.payload)
    return watcher


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
