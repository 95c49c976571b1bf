"""What a station says of itself, all retained: `info` and `status` when it comes online, `info` again when `degraded`
changes, `health` every ten seconds.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from lineside import __version__
from lineside.edge.config import Config
from lineside.edge.degraded import Degraded
from lineside.edge.errors import BrokerError, StoreError, TooLarge
from lineside.edge.models import Models, wire_model, wire_session
from lineside.edge.outside import settings_of
from lineside.edge.wire.changes import WireRemote
from lineside.edge.wire.health import Health
from lineside.edge.wire.messages import JSON_TYPE, Info
from lineside.edge.wire.mqtt import Connection
from lineside.edge.wire.topics import Topics
from lineside.edge.wire.traffic import ClosedOver, Ending

log = logging.getLogger("lineside.announcements")
HEALTH_EVERY_S = 10.0
HEALTH_EXPIRY_S = 60
CLOSED_OVER_LIMIT = 3


class Announcements:
    """Publishes on the network thread (`announce`) and on one of its own (`health`).

    Attributes:
        online: set once the station was announced for the first time.
    """

    def __init__(
        self,
        config: Config,
        topics: Topics,
        connection: Connection,
        health: Callable[[], Health],
        *,
        models: Models,
        commands: list[str],
        degraded: Degraded,
        online: threading.Event,
        stale: Callable[[], list[str]] = list,
    ) -> None:
        self._config, self._topics, self._connection = config, topics, connection
        self._health, self._models = health, models
        self._commands, self._degraded, self._stale = commands, degraded, stale
        self._said: list[str] | None = []
        self._closed_over, self._short = ClosedOver(), False
        self.online = online
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="health", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._closed.set()
        self._degraded.changed.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    def announce(self) -> None:
        """After each connect."""
        self._publish_info()
        self._publish(self._topics.status, b"online", "text/plain")
        self.online.set()
        self._degraded.changed.set()  # what changed while `info` was on its way is noticed

    def exchange(self, config: Config, models: Models) -> None:
        """Say in `info` what the station is from now on."""
        self._config, self._models = config, models
        self._said = None
        self._degraded.changed.set()

    def say_goodbye(self) -> None:
        self._publish(self._topics.status, b"offline", "text/plain")

    def info(self) -> Info:
        tools: dict[str, dict[str, Any]] = {
            name: {
                "description": tool.description,
                "parameters": tool.parameters,
                "allowed": tool.allowed,
                "limits": tool.limits,
                "needs_confirmation": tool.confirm_s > 0,
                "dry_run": tool.dry_run,
                "acts": tool.acts,
                "safety": tool.safety,
            }
            | ({"only_if": tool.only_if} if tool.only_if else {})
            | ({"state": tool.state.topic} if tool.state is not None else {})
            for name, tool in self._config.tools.items()
        }
        if self._short:
            tools = {name: {} for name in tools}
        frames, commands = self._models.frames, self._models.commands
        return Info(
            version=__version__,
            station=self._config.station.name,
            model=wire_model(frames),
            cameras=sorted(self._config.cameras),
            stale=self._stale(),
            triggers={name: list(it.cameras) for name, it in sorted(self._config.triggers.items())} or None,
            commands=self._commands,
            group=self._config.group_topic or None,
            tools=tools,
            max_payload_bytes=self._config.store.max_payload_bytes,
            session=wire_session(frames),
            commands_model=wire_model(commands) if commands is not frames else None,
            commands_session=wire_session(commands) if commands is not frames else None,
            degraded=self._degraded.sentences(),
            remote=self._remote(),
        )

    def _remote(self) -> WireRemote:
        config, allow = self._config, self._config.remote.allow
        settings = settings_of(config.inspect, config.cameras, allow)
        return WireRemote(allow=list(allow), changed=config.changed, settings=settings)

    def _run(self) -> None:
        """Wakes when `degraded` changes and when `health` is due. What could not be published is tried again then."""
        due = time.monotonic() + HEALTH_EVERY_S
        while not self._closed.is_set():
            self._degraded.changed.wait(max(due - time.monotonic(), 0.0))
            self._degraded.changed.clear()
            if self._closed.is_set() or not self._connection.connected.is_set():
                due = max(due, time.monotonic() + 1.0)
                continue
            if self.online.is_set() and self._degraded.sentences() != self._said:
                self._publish_info()
            if time.monotonic() >= due:
                due = time.monotonic() + HEALTH_EVERY_S
                self._publish_health()

    def _publish_info(self) -> None:
        info = self.info()
        try:
            self._connection.publish(
                self._topics.info, info.encode(), retain=True, content_type=JSON_TYPE, ended=self._info_ended
            )
        except TooLarge as error:
            if self._short:
                log.error("%s", error)
            else:
                self._shorten(str(error))
                self._publish_info()
        except BrokerError as error:
            log.warning("%s", error)
        else:
            self._said = info.degraded

    def _info_ended(self, ending: Ending) -> None:
        """Where the broker closes the connection over `info` again and again, it is too large for it."""
        if ending.kind == "lost" and ending.suspicious:
            if self._closed_over.add(ending) >= CLOSED_OVER_LIMIT and not self._short:
                self._shorten("the broker closes the connection over `info`")
        else:
            self._closed_over.forget()

    def _shorten(self, why: str) -> None:
        self._short = True
        self._degraded.set("info too large", f"{why}: it names the tools, and leaves out their schemas")

    def _publish_health(self) -> None:
        try:
            body = self._health().encode()
        except StoreError as error:
            log.error("no health message: %s", error)
            return
        self._publish(self._topics.health, body, JSON_TYPE, HEALTH_EXPIRY_S)

    def _publish(self, topic: str, payload: bytes, content_type: str, expiry_s: int | None = None) -> bool:
        """False where the broker, or the queue before it, does not take the message."""
        try:
            self._connection.publish(topic, payload, retain=True, content_type=content_type, expiry_s=expiry_s)
        except BrokerError as error:
            log.warning("%s", error)
            return False
        return True
