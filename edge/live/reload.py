"""A station file that is taken while the station runs: all of it, or nothing."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from lineside.edge.announcements import Announcements
from lineside.edge.calls.calls import Calls, Rules
from lineside.edge.calls.tool_checks import tool_problems
from lineside.edge.commands.bounds import asked_beyond
from lineside.edge.commands.conversation import Conversation
from lineside.edge.commands.inbox import Commands
from lineside.edge.commands.phrases.phrasing import phrases_of, phrases_with_servers
from lineside.edge.config import STATION, Config
from lineside.edge.degraded import Degraded
from lineside.edge.errors import ConfigError, EdgeError
from lineside.edge.figures import Figures
from lineside.edge.frames.camera_set import CameraSet
from lineside.edge.frames.intake import FrameIntake
from lineside.edge.frames.pipeline import Look, Pipeline, open_look
from lineside.edge.frames.switches import Switches
from lineside.edge.history.keeper import History
from lineside.edge.models import Models, runs_alike
from lineside.edge.station_file import load_config
from lineside.edge.wire.messages import JSON_TYPE, StationEvent, WireError
from lineside.edge.wire.store import Outgoing, Store
from lineside.edge.wire.topics import Topics
from lineside.runtime.errors import EngineError

log = logging.getLogger("lineside.live")
REFUSED = "station file"
"""The key of what `degraded` says of a refused file."""


class Devices(Protocol):
    """Of Zigbee2MQTT, as they were at the start."""

    def with_tools(self, config: Config) -> Config: ...


class Attached(Protocol):
    """Parts that the station has where its file asks for them."""

    def taken(self) -> None:
        """The station is from now on as a new file, or another model, makes it."""


class Station(Protocol):
    """What a new station file changes."""

    config: Config
    models: Models
    topics: Topics
    degraded: Degraded
    pipeline: Pipeline
    calls: Calls
    commands: Commands
    frames: FrameIntake
    switches: Switches
    cameras: CameraSet
    announcements: Announcements
    figures: Figures
    history: History
    store: Store

    @property
    def attached(self) -> Attached: ...

    @property
    def zigbee(self) -> Devices | None: ...

    def with_servers(self, config: Config) -> Config:
        """With the tools of the MCP servers that run."""

    def hear_states(self) -> None:
        """On the topics of the tools as they are now."""


@dataclass(frozen=True)
class Prepared:
    """Everything of a new station file that can fail, done."""

    config: Config
    look: Look
    rules: Rules | None
    conversation: Conversation


def fixed_problem(before: Config, after: Config) -> str:
    """The keys that only a start takes up and that differ; empty where none does."""
    differ = [
        key
        for key, same in (
            ("station.name", before.station.name == after.station.name),
            ("station.base_topic", before.base_topic == after.base_topic),
            ("station.data", before.station.data == after.station.data),
            ("station.drain_s", before.station.drain_s == after.station.drain_s),
            ("mqtt", before.mqtt == after.mqtt),
            ("store", before.store == after.store),
            ("mcp", before.mcp == after.mcp),
            ("sparkplug", before.sparkplug == after.sparkplug),
            ("zigbee2mqtt", replace(before.zigbee2mqtt, tools={}) == replace(after.zigbee2mqtt, tools={})),
            ("history", before.history == after.history),
            ("inspect.evidence_folder", before.inspect.evidence_folder == after.inspect.evidence_folder),
            ("group", before.group == after.group),
            ("audit", before.audit == after.audit),
            ("metrics", before.metrics == after.metrics),
            ("remote", before.remote == after.remote),
            ("updates", before.updates == after.updates),
            ("triggers", before.triggers == after.triggers),
            ("http", before.http == after.http),
            ("home_assistant", before.home_assistant == after.home_assistant),
            ("kuksa", before.kuksa == after.kuksa),
            ("outputs", before.outputs == after.outputs),
            ("model (bundle, device, threads, capacity, kv_cache_mb), commands.bundle", runs_alike(before, after)),
        )
        if not same
    ]
    return ", ".join(f"`{key}`" for key in differ)


def prepare(station: Station, config: Config) -> Prepared:
    """Nothing of the station has changed when this raises. A model that was installed meanwhile waits for a start.

    Raises:
        ConfigError, EngineError: the file cannot be used.
    """
    if config.model.bundle == station.config.model.bundle:
        config = replace(config, installed=station.config.installed)
    if differ := fixed_problem(station.config, config):
        raise ConfigError(f"{differ} cannot change while the station runs: start it again")
    config = station.zigbee.with_tools(config) if station.zigbee is not None else config
    phrases = phrases_of(config)
    config = station.with_servers(config)
    phrases = phrases_with_servers(config, phrases, station.degraded)
    look = open_look(config, station.models.frames_engine)
    same = _ruling(config) == _ruling(station.config)
    rules = None if same else station.calls.make_rules(config)
    engine = station.models.commands_engine
    conversation = station.commands.converse(config, engine, phrases, rules or station.calls.rules)
    return Prepared(config, look, rules, conversation)


def _ruling(config: Config) -> tuple[object, ...]:
    """What decides on calls."""
    return config.tools, config.station.timezone, config.safety


def take(station: Station, new: Prepared) -> None:
    """The frame under way, and a command that was begun, end with what they began with.

    Raises:
        ConfigError, StoreError: nothing has changed.
    """
    if new.rules is not None:
        station.calls.exchange(new.rules)
    engine = station.models.commands_engine
    for sentence in (*station.pipeline.look.degraded, *asked_beyond(station.config, engine)):
        station.degraded.clear(sentence)
    for sentence in (*new.look.degraded, *asked_beyond(new.config, engine)):
        station.degraded.set(sentence, sentence)
    for camera in station.config.cameras:
        station.degraded.clear(f"switch {camera}")
    station.commands.exchange(new.config, new.conversation)
    station.pipeline.exchange(new.look)
    station.switches.exchange(new.config.cameras)
    station.frames.exchange(set(new.config.cameras))
    station.cameras.exchange(new.config)
    station.config = new.config
    say_switched_off(station.switches, station.degraded)
    if new.rules is not None:
        station.hear_states()
    station.announcements.exchange(new.config, station.models)
    station.attached.taken()


def say_switched_off(switches: Switches, degraded: Degraded) -> None:
    for camera, sentence in switches.sentences().items():
        degraded.set(f"switch {camera}", sentence)


class Reloader:
    """Reads the station file again, on a thread of its own, each time that it is asked to.

    Attributes:
        lock: held by whoever changes the station.
    """

    def __init__(self, station: Station, send: Callable[[Outgoing], None]) -> None:
        self._station, self._send = station, send
        self.lock = threading.Lock()
        self._asked, self._closed = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="reload", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def ask(self) -> None:
        """The file may have changed. On the main thread, which goes on at once."""
        self._asked.set()

    def close(self) -> None:
        self._closed.set()
        self._asked.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    def _run(self) -> None:
        while True:
            self._asked.wait()
            self._asked.clear()
            if self._closed.is_set():
                return
            self.reload()

    def reload(self) -> None:
        """Take the file as it is now, or keep the old one; either is said on `event/station`, in the log and `info`."""
        station = self._station
        path = station.config.file
        try:
            with self.lock:
                take(station, prepare(station, load_config(path, also=(tool_problems,))))
        except (EdgeError, EngineError) as error:
            self._refuse(str(error))
        except Exception as error:  # the old station goes on: logged, reported
            log.exception("%s could not be taken", path)
            self._refuse(f"unexpected: {error!r}")
        else:
            log.info("%s was taken", path)
            station.degraded.clear(REFUSED)
            self._say(StationEvent(event_type="station_changed"))

    def reopen(self) -> None:
        """Take up gates, calibrations and references as they are now, and nothing else of the station file.

        Raises:
            ConfigError, EngineError: the old ones go on.
        """
        station = self._station
        with self.lock:
            look = open_look(station.config, station.models.frames_engine)
            for sentence in station.pipeline.look.degraded:
                station.degraded.clear(sentence)
            for sentence in look.degraded:
                station.degraded.set(sentence, sentence)
            station.pipeline.exchange(look)

    def _refuse(self, why: str) -> None:
        log.error("the station file is not taken, the old one goes on: %s", why)
        self._station.degraded.set(REFUSED, f"the station file is not taken, the old one goes on: {why}")
        self._say(StationEvent(event_type="station_refused", error=WireError(code="station_refused", message=why)))

    def _say(self, event: StationEvent) -> None:
        self._send(Outgoing(self._station.topics.event(STATION), event.encode(), JSON_TYPE))
