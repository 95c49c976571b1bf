"""Tells Home Assistant of the station, on a connection of its own: a broker that refuses this takes neither commands
nor frames away.

Everything is announced after each connect and each birth message of Home Assistant; what has changed, when a station
file or another model was taken.
"""

from __future__ import annotations

import logging
import math
import random
import threading
import time
from collections.abc import Callable
from functools import partial

from lineside.edge.config import Config
from lineside.edge.counters import Counters
from lineside.edge.degraded import Degraded
from lineside.edge.errors import BrokerError, NotConnected, QueueFull, UpdateError
from lineside.edge.integrations.home_assistant.devices import devices_of
from lineside.edge.integrations.home_assistant.offer import Offer, read_offer
from lineside.edge.integrations.home_assistant.published import Published
from lineside.edge.wire.mqtt import Connection
from lineside.edge.wire.traffic import Ending, Message

log = logging.getLogger("lineside.home_assistant")
DEFAULT_PREFIX = "homeassistant"
SPREAD_S = 5.0
"""After Home Assistant's birth all that announce themselves do so anew: not all in the same second."""
LOOK_EVERY_S = 600.0
"""For a new model, where the station file names a place."""
DEGRADED = "home assistant"


class HomeAssistantLink:
    """Without the table in the station file it takes back what was announced before.

    Args:
        config: asked for the station file as it is now.

    Attributes:
        nothing_left: set when all that was announced has been taken back.

    Raises:
        ConfigError: the file of what was announced cannot be read.
    """

    def __init__(
        self,
        config: Callable[[], Config],
        client_id: str,
        counters: Counters,
        degraded: Degraded,
        session_mark: Callable[[str, bool], str],
        leader: Connection | None = None,
    ) -> None:
        self._config, self._degraded = config, degraded
        announced = config().home_assistant
        self._birth = f"{announced.discovery_prefix if announced is not None else DEFAULT_PREFIX}/status"
        self._published = Published(config().published_path)
        self._said: dict[str, bytes] = {}
        self._due, self._look_at = math.inf, 0.0
        self._offer: Offer | None = None
        self._gone: list[str] = []
        self._wake, self._closed = threading.Event(), threading.Event()
        self.nothing_left = threading.Event()
        self._thread = threading.Thread(target=self._run, name="home-assistant", daemon=True)
        self._connection = Connection(
            config().broker_access,
            f"{client_id}-home-assistant",
            "",
            [(self._birth, 0)],
            self._take,
            self._stands,
            counters,
            session_mark=session_mark,
            degraded=degraded,
            on_trouble=self._no_way,
            leader=leader,
        )

    def start(self) -> None:
        self._thread.start()
        self._connection.start()

    def close(self) -> None:
        """What was announced stays: the station's status says that it is away."""
        self._closed.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5)
        self._connection.stop()

    def connect_now(self) -> None:
        """The broker is there: do not wait with the next attempt."""
        self._connection.connect_now()

    def changed(self) -> None:
        """The station is another from now on."""
        self._look_at = 0.0
        self._soon(0.0)

    def _soon(self, wait_s: float) -> None:
        self._due = min(self._due, time.monotonic() + wait_s)
        self._wake.set()

    # On the network thread

    def _stands(self) -> None:
        self._degraded.clear(DEGRADED)
        self._said = {}
        self._soon(0.0)

    def _no_way(self, cause: str) -> None:
        self._degraded.set(DEGRADED, f"Home Assistant is not told of the station: {cause}")

    def _take(self, message: Message) -> None:
        message.acknowledge()
        if message.payload == b"online" and message.topic == self._birth:
            self._said = {}
            self._soon(random.uniform(0.0, SPREAD_S))

    def _ended(self, topic: str, ending: Ending) -> None:
        """A device that was taken back is forgotten when the broker has taken that in."""
        if ending.kind == "acknowledged":
            self._gone.append(topic)
        self._wake.set()

    # On its own thread

    def _run(self) -> None:
        while not self._closed.is_set():
            now = time.monotonic()
            if now >= min(self._due, self._next_look()):
                self._due = math.inf
                self._announce()
            self._forget_gone()
            left_s = min(self._due, self._next_look()) - time.monotonic()
            self._wake.wait(None if math.isinf(left_s) else max(left_s, 0.0))
            self._wake.clear()

    def _next_look(self) -> float:
        announced = self._config().home_assistant
        return self._look_at if announced is not None and announced.model_source else math.inf

    def _announce(self) -> None:
        """What the broker has not been told on this connection, or not so."""
        if time.monotonic() >= self._next_look():
            self._look_at = time.monotonic() + LOOK_EVERY_S
            self._offer = self._read_offer()
        try:
            messages = self._published.messages(devices_of(self._config(), self._offer))
        except OSError as error:
            self._no_way(f"{self._config().published_path} cannot be written ({error.strerror})")
            return
        for topic, payload in messages.items():
            if self._said.get(topic) != payload and not self._send(topic, payload):
                return

    def _read_offer(self) -> Offer | None:
        try:
            return read_offer(self._config())
        except UpdateError as error:
            log.info("no new model: %s", error)
            announced = self._config().home_assistant
            return Offer(announced.model_source) if announced is not None else None

    def _send(self, topic: str, payload: bytes) -> bool:
        """False where it goes out after the next connect."""
        ended = partial(self._ended, topic) if not payload else self._wake_up
        while not self._closed.is_set():
            try:
                self._connection.publish(topic, payload, retain=True, ended=ended)
            except QueueFull:
                self._wake.wait(1.0)
                self._wake.clear()
                continue
            except NotConnected:
                return False
            except BrokerError as error:
                log.error("%s", error)
                self._no_way(str(error))
            self._said[topic] = payload
            return True
        return False

    def _wake_up(self, _ending: Ending) -> None:
        self._wake.set()

    def _forget_gone(self) -> None:
        while self._gone:
            topic = self._gone.pop()
            try:
                self._published.forget(topic)
            except OSError as error:
                log.error("%s cannot be written (%s)", self._config().published_path, error.strerror)
            self._said.pop(topic, None)
            if not self._published.topics:
                self.nothing_left.set()
