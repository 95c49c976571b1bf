"""The daemon: puts the parts together and takes them apart again."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Self

from lineside.edge.announcements import Announcements
from lineside.edge.attached import Part, attach
from lineside.edge.broker_access import warnings_of
from lineside.edge.calls.calls import Calls
from lineside.edge.calls.state_link import StateLink
from lineside.edge.commands.bounds import asked_beyond
from lineside.edge.commands.eyes import Eyes
from lineside.edge.commands.inbox import Commands
from lineside.edge.commands.phrases.phrasing import phrases_of, phrases_with_servers
from lineside.edge.config import Config
from lineside.edge.counters import Counters
from lineside.edge.degraded import Degraded
from lineside.edge.drain import Drain
from lineside.edge.figures import Cameras, Figures, Queue
from lineside.edge.frames.answers import Answers
from lineside.edge.frames.camera_set import CameraSet
from lineside.edge.frames.camera_watch import CameraWatch, Watched
from lineside.edge.frames.drift_watch import DriftWatch
from lineside.edge.frames.intake import FrameIntake
from lineside.edge.frames.last_state import LastState
from lineside.edge.frames.newest import NewestFrames
from lineside.edge.frames.pipeline import Pipeline
from lineside.edge.frames.switches import Switches
from lineside.edge.group_link import GroupLink
from lineside.edge.history.keeper import History
from lineside.edge.live.reload import Reloader, say_switched_off
from lineside.edge.live.remote import Remote, allowed_commands
from lineside.edge.models import DEVICE_FAILURES, device_of, open_or_fall_back, there
from lineside.edge.notify import Watchdog, notify
from lineside.edge.pulse import Pulse
from lineside.edge.served import bindings_of, read_devices, serve_http, serve_metrics, start_servers
from lineside.edge.wire.acknowledgements import Window
from lineside.edge.wire.identity import without_mark
from lineside.edge.wire.mqtt import Connection
from lineside.edge.wire.outbox import Outbox
from lineside.edge.wire.store import Store
from lineside.edge.wire.topics import Topics
from lineside.edge.wire.traffic import Message
from lineside.runtime.engine.engine import Engine

if TYPE_CHECKING:
    from lineside.edge.http.station import StationServer
    from lineside.edge.integrations.mcp.servers import McpServers
    from lineside.edge.integrations.zigbee.devices import ZigbeeDevices
    from lineside.edge.metrics import MetricsServer
    from lineside.edge.page.routes import Page

log = logging.getLogger("lineside.daemon")
FRAMES_WAITING, FRAME_BYTES_WAITING = 250, 64 * 1024 * 1024
"""Frames with QoS 1 that are read ahead; the broker keeps the others."""


class Daemon:
    """A running station: `with Daemon(config) as daemon: daemon.wait()`.

    Raises:
        AuditError, BundleError, ConfigError, DeviceError, StoreError: before anything is connected.
    """

    _mcp: McpServers | None = None
    zigbee: ZigbeeDevices | None = None
    _history: History | None = None
    _metrics: MetricsServer | None = None
    _http: StationServer | None = None
    _page: Page | None = None
    _calls: Calls | None = None

    def __init__(self, config: Config) -> None:
        self.config = config
        self.topics = Topics(config.base_topic)
        self.counters, self.degraded = Counters(), Degraded()
        self.failed = False
        self.pulse = Pulse()
        self._watchdog = Watchdog(self.pulse.stuck)
        self._stop, self._drain = threading.Event(), Drain(config.station.drain_s)
        self.online = threading.Event()
        self.store = Store(config.store_path, config.store.max_messages, config.mqtt.session_expiry_s, self.degraded)
        try:
            self._open(config)
        except BaseException:
            if self._mcp is not None:
                self._mcp.close()
            if self._history is not None:
                self._history.close()
            for server in (self._metrics, self._http, self._page):
                if server is not None:
                    server.close()
            if self._calls is not None:
                self._calls.close_audit()
            self.store.close()
            raise

    def _open(self, config: Config) -> None:
        """Behind the store, which one daemon alone can have: the second has not loaded a model when it is told so."""
        self._client_id = client_id = config.mqtt.client_id or f"lineside-{config.station.name}"
        self.zigbee = read_devices(config, client_id, self.store, self.counters, self.degraded)
        config = self.zigbee.with_tools(config) if self.zigbee is not None else config
        phrases = phrases_of(config)  # before a model is loaded: they may have a mistake
        self._mcp = start_servers(config, self.degraded)
        config, self.models, fallen = open_or_fall_back(config)
        self.config = config
        if fallen:
            self.degraded.set("installed model", fallen)
        if self._mcp is not None:
            config = self.config = self._mcp.with_tools(config, self.models.commands_engine)
        phrases = phrases_with_servers(config, phrases, self.degraded)
        access = config.broker_access
        for warning in warnings_of(access):
            log.warning("%s", warning)
        self.connection = Connection(
            access,
            client_id,
            self.topics.status,
            self.topics.subscriptions(triggers=bool(config.triggers)),
            self._dispatch,
            self._connected,
            self.counters,
            left=self.topics.left(triggers=bool(config.triggers)),
            session_mark=self.store.session_mark,
            degraded=self.degraded,
        )
        self.frame_connection = Connection(
            access,
            f"{client_id}-frames",
            "",
            self.topics.frame_subscriptions(),
            self._dispatch,
            self._announce,
            self.counters,
            session_mark=self.store.session_mark,
            degraded=self.degraded,
            window=Window(FRAMES_WAITING, FRAME_BYTES_WAITING),
            on_trouble=self._no_frames,
            leader=self.connection,
        )
        self.outbox = Outbox(self.store, self.connection, self.counters, self.degraded, self.pulse)
        self.switches = Switches(config.cameras)
        self.last_state = LastState(self.topics, self.connection, self.counters)
        self.history = self._history = History(config, device_of(self.models.frames), self.counters, self.degraded)
        self.answers = Answers(self.topics, self.store, self.outbox, self.counters)
        self.drift_watch = DriftWatch(self.topics, self.outbox.put, self.degraded)
        self.pipeline = Pipeline(
            config,
            self.models.frames_engine,
            self.answers,
            self.last_state,
            self.history,
            self.drift_watch,
            self.counters,
            switches=self.switches,
            drain=self._drain,
            station=self.degraded,
            pulse=self.pulse,
        )
        self.newest = self.pipeline.newest = NewestFrames(lambda camera: self.cameras.live(camera))
        self.calls = self._calls = Calls(
            config,
            self.topics,
            self.store,
            self.outbox,
            self.connection,
            self.counters,
            bindings_of(self._mcp, self.zigbee, self.connection),
            self._drain,
            self.degraded,
        )
        self.state_link = self._link_states()
        self.commands = Commands(
            config,
            self.topics,
            self.models.commands_engine,
            self.store,
            self.outbox,
            self.calls,
            self.counters,
            phrases,
            Eyes(self.newest, self.switches, self.last_state.show_picture),
        )
        self.frames = FrameIntake(
            set(config.cameras),
            config.folder,
            config.store.max_payload_bytes,
            self.pipeline,
            self.answers,
            self.counters,
            self.switches,
        )
        asked = asked_beyond(config, self.models.commands_engine)
        for sentence in (*self.models.degraded(), *self.pipeline.look.degraded, *asked):
            self.degraded.set(sentence, sentence)
        say_switched_off(self.switches, self.degraded)
        self.cameras = CameraSet(config, self.switches, self.pipeline, self._make_watch, self.online)
        self.watch = self.cameras.watch
        self.group = GroupLink(
            config,
            self._client_id,
            self.frames,
            self.commands,
            self.watch,
            self._announce,
            self.counters,
            self.degraded,
            self.store.session_mark,
            self.connection,
        )
        queues: dict[str, Queue] = {"frames": self.pipeline.mailbox, "commands": self.commands}
        cameras = Cameras(self.watch.health, self.drift_watch.figures)
        self.figures = Figures(self.counters, self.store, self.outbox, self.models, cameras, queues)
        self._metrics = serve_metrics(config.metrics, self.figures.health)
        self._http, self._page = serve_http(self)
        self.announcements = self._make_announcements()
        self.reloader = Reloader(self, self.outbox.put)
        self.remote = Remote(self, self.reloader, self.outbox.put)
        self.commands.handlers.update(self.remote.handlers)
        self.attached = attach(self)

    def _link_states(self) -> StateLink:
        config, mark = self.config.broker_access, self.store.session_mark
        states, kuksa = self.calls.states, self.calls.kuksa
        return StateLink(config, self._client_id, states, self.counters, self.degraded, mark, self.connection, kuksa)

    def with_servers(self, config: Config) -> Config:
        """With the tools of the MCP servers that run."""
        return self._mcp.with_tools(config, self.models.commands_engine) if self._mcp is not None else config

    def hear_states(self) -> None:
        """On the topics of the tools as they are now."""
        self.state_link.close()
        self.state_link = self._link_states()
        self.state_link.start()

    def _make_announcements(self) -> Announcements:
        return Announcements(
            self.config,
            self.topics,
            self.connection,
            self.figures.health,
            models=self.models,
            commands=sorted(["ask", *allowed_commands(self.config.remote)]),
            degraded=self.degraded,
            online=self.online,
            stale=self.cameras.stale,
        )

    def _make_watch(self, watched: dict[str, Watched]) -> CameraWatch:
        return CameraWatch(watched, self.topics, self.outbox.put, self.last_state, self.degraded, self.counters)

    @property
    def engine(self) -> Engine:
        """That which looks at frames; raises RequestError where it could not be opened."""
        return there(self.models.frames_engine)

    def __enter__(self) -> Self:
        for model in self.models.opened():
            log.info("%s runs on %s: %s", model.engine.bundle.manifest.name, model.choice.device, model.choice.reason)
        self.outbox.start()
        self.remote.start()
        for part in self._parts():
            part.start()
        self.frame_connection.start()
        self.group.start()
        self.connection.start()
        self.announcements.start()
        if self._http is not None:
            self._http.start()
        self._watchdog.start()
        notify("READY=1")
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _tb: TracebackType | None
    ) -> None:
        self._stop.set()
        notify("STOPPING=1")
        self._watchdog.close()
        for server in (self._metrics, self._http, self._page):
            if server is not None:
                server.close()
        self.announcements.close()
        for part in reversed(self._parts()):
            part.close()
        self.frame_connection.stop()
        self.group.close()
        if self.connection.connected.is_set():
            self.outbox.drain(timeout_s=3.0)
            self.announcements.say_goodbye()
            time.sleep(0.1)
        self.connection.stop()
        self.outbox.close()
        self.calls.close_audit()
        self.store.close()

    def _parts(self) -> list[Part]:
        """Everything with a thread except the outbox, consumers before producers."""
        return [
            self.answers,
            self.pipeline,
            self.state_link,
            self.commands,
            self.frames,
            self.watch,
            self.attached,
            self.cameras,
            self.reloader,
        ]

    def stop(self) -> None:
        self._stop.set()

    def fail(self, failure: threading.ExceptHookArgs) -> None:
        """A thread has died: stop, so that the service manager starts a whole daemon again."""
        log.critical("%s has died", failure.thread.name if failure.thread else "a thread", exc_info=failure.exc_value)
        self.failed = True
        self._stop.set()

    def wait(self, pause: Callable[[float], bool] | None = None) -> None:
        """Until `stop` is called, `pause` gives true within so many seconds, or the device that a model runs on
        has failed for good: a process that has lost its GPU does not get it back, but its successor may, or chooses
        the CPU.
        """
        pause = pause or self._stop.wait
        while not (pause(0.5) or self._stop.is_set()):
            if device := self.models.lost_device():
                log.critical("%s has failed %d times in a row", device, DEVICE_FAILURES)
                self.failed = True
                self._stop.set()

    def wait_online(self, timeout_s: float) -> bool:
        return self.announcements.online.wait(timeout_s)

    def _dispatch(self, message: Message) -> None:
        """On the network thread. Whatever a message does, it is acknowledged, or the broker sends it for ever."""
        try:
            self._hand_on(message)
        except Exception:  # part of both boundaries: counted and logged
            self.counters.add("messages_failed")
            log.exception("a message on %s could not be handled", message.topic)
            message.acknowledge()

    def _hand_on(self, message: Message) -> None:
        parsed = self.topics.parse(message.topic)
        if parsed is None:
            message.acknowledge()
            return
        kind, name = parsed
        if kind == "frame":
            if not message.retain:
                self.watch.arrived(name)
            self.frames.accept(name, message)
        elif kind == "cmd":
            self.commands.accept(name, message)
        elif kind in self.attached.handlers:
            self.attached.handlers[kind](name, message)
        else:
            if message.retain:
                self.counters.add(f"{kind}_ignored_retained")
            elif kind == "ret":
                self.calls.actuators.handle(name, without_mark(message.payload))
            elif kind == "confirm":
                self.calls.confirmations.handle(name, without_mark(message.payload))
            message.acknowledge()

    def _connected(self) -> None:
        self.frame_connection.connect_now()
        self.group.connect_now()
        self.state_link.connect_now()
        self._announce()

    def _announce(self) -> None:
        """The station is online when its connections stand, or those for frames and group are known to have trouble."""
        if self.frame_connection.connected.is_set():
            self.degraded.clear("frames")
        elif not self.frame_connection.problem:
            return
        if not self.group.settled:
            return
        if self.connection.connected.is_set():
            self.announcements.announce()
            self.last_state.announce()
            self.watch.connected()
            self.outbox.wake()
            for told in self.attached.connected:
                told()

    def _no_frames(self, cause: str) -> None:
        self.degraded.set("frames", f"no frames over MQTT: {cause}")
        if not self.announcements.online.is_set():
            self._announce()
