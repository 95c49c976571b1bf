"""Sends what the store's outbox holds and forgets a message when the broker has acknowledged it.

The queue is here: the connection is handed no more than is in flight, and what it could not bring through goes again
from here, with the time that it has left. What the broker refuses waits. What it cannot take is shortened, or given up.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from functools import partial

from lineside.edge.counters import Counters
from lineside.edge.degraded import Degraded
from lineside.edge.errors import BrokerError, NotConnected, QueueFull, StoreError, TooLarge
from lineside.edge.pulse import Pulse
from lineside.edge.steady import unix_time
from lineside.edge.wire.lanes import Lane, Lanes
from lineside.edge.wire.mqtt import Connection
from lineside.edge.wire.remembered import Remembered
from lineside.edge.wire.shorten import farewell, shorten
from lineside.edge.wire.store import Outgoing, Store
from lineside.edge.wire.traffic import Ending
from lineside.edge.wire.trouble import Trouble

log = logging.getLogger("lineside.outbox")
IDLE_S = 0.5
INFLIGHT = 10
READ_AHEAD = 1000
STRIKES = 4
"""So often the connection may be closed over a message: with others, and three times over it alone."""
PACKET_TOO_LARGE = 0x95
FOR_GOOD = (0x90, 0x99)
"""Topic name invalid, payload format invalid: no wait helps."""


class Outbox:
    """One sender thread. `put` returns as soon as the message is on disk.

    While the disk refuses writes, messages are kept in memory, up to `MEMORY_LIMIT`, and sent from there.

    Attributes:
        on_given_up: called with a message that the broker never took, and why.
    """

    MEMORY_LIMIT = 1000

    def __init__(
        self, store: Store, connection: Connection, counters: Counters, degraded: Degraded, pulse: Pulse | None = None
    ) -> None:
        self._store, self._connection, self._counters = store, connection, counters
        self._trouble, self._pulse = Trouble(degraded), pulse or Pulse()
        self.on_given_up: list[Callable[[Outgoing, str], None]] = []
        self._wake = threading.Event()
        self._closed = threading.Event()
        self._lanes = Lanes()
        self._reading = threading.Lock()
        self._read_up_to = 0
        self._was_connected = False
        self._thread = threading.Thread(target=self._run, name="outbox", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def put(self, message: Outgoing, answers: Remembered | None = None, *, lasting: bool = True) -> None:
        """`answers`: which request, so that a redelivery of it is known again; `lasting` as in `Store.enqueue`."""
        try:
            lost = self._store.enqueue(message, answers, lasting=lasting)
            if lost:
                self._counters.add("outbox_dropped", lost)
                log.error("the outbox is full: %d old messages were dropped", lost)
        except StoreError as error:
            self._keep_in_memory(message, error)
        self._wake.set()

    def wake(self) -> None:
        """There may be new messages in the store."""
        self._wake.set()

    def _keep_in_memory(self, message: Outgoing, error: StoreError) -> None:
        """Behind what is on disk."""
        self._counters.add("store_errors")
        try:
            self._read_store()
        except StoreError:
            log.debug("what is on disk will go after what is in memory")
        if lost := self._lanes.add(message.topic, message, most_in_memory=self.MEMORY_LIMIT):
            self._counters.add("outbox_dropped", lost)
        log.error("kept in memory only: %s", error)

    def drain(self, timeout_s: float) -> bool:
        """Wait until everything was acknowledged; False where `timeout_s` was not enough."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if not self._lanes.in_memory() and self._store.outbox_size() == 0:
                return True
            time.sleep(0.05)
        return False

    def oldest_s(self) -> float | None:
        """For how long the oldest message waits for the broker, since the start at most; None where none does."""
        return self._lanes.oldest_s()

    def close(self) -> None:
        self._closed.set()
        self._wake.set()
        self._thread.join(timeout=5)

    # The sender thread

    def _run(self) -> None:
        while not self._closed.is_set():
            pause_s = self._lanes.next_s()
            self._wake.wait(IDLE_S if pause_s is None else min(pause_s, IDLE_S))
            self._wake.clear()
            self._pulse.begin("outbox")
            try:
                self._read_store()
                self._send_all()
            except StoreError as error:
                self._counters.add("store_errors")
                log.error("%s", error)
                self._closed.wait(IDLE_S)
            self._pulse.end("outbox")

    def _read_store(self) -> None:
        """Which messages there are; they themselves are read when it is their turn."""
        with self._reading:
            while found := self._store.waiting(self._read_up_to, READ_AHEAD):
                for message_id, topic in found:
                    self._lanes.add(topic, message_id)
                self._read_up_to = found[-1][0]

    def _send_all(self) -> None:
        """Until nothing may go at the moment."""
        connected = self._connection.connected.is_set()
        if connected and not self._was_connected:
            self._lanes.all_at_once()
        self._was_connected = connected
        while self._connection.connected.is_set() and not self._closed.is_set():
            self._pulse.begin("outbox")
            lane = self._lanes.take(INFLIGHT, suspects=self._connection.proved)
            if lane is None or not self._send_first(lane):
                return

    def _send_first(self, lane: Lane) -> bool:
        """False where the connection takes nothing at the moment."""
        try:
            message = lane.first.message or self._store.load(lane.first.id)
        except BaseException:
            self._lanes.put_back(lane)
            raise
        if message is None:
            self._lanes.done(lane)
        elif message.expires is not None and message.expires < unix_time():
            self._counters.add("outbox_expired")
            self._end(lane, message)
        else:
            return self._send(lane, message)
        return True

    def _send(self, lane: Lane, message: Outgoing) -> bool:
        left_s = message.expires - unix_time() if message.expires is not None else None
        try:
            self._connection.publish(
                message.topic,
                message.payload,
                content_type=message.content_type,
                correlation=message.correlation,
                expiry_s=left_s,
                deadline=None if left_s is None else time.monotonic() + left_s,
                kept=True,
                ended=partial(self._ended, lane, message),
            )
        except (QueueFull, NotConnected):
            self._lanes.put_back(lane)
            self._closed.wait(IDLE_S)
            return False
        except TooLarge as error:
            self._fit(lane, message, str(error), self._room(message))
        except BrokerError as error:
            self._give_up(lane, message, str(error))
        return True

    def _room(self, message: Outgoing) -> int | None:
        return self._connection.room(message.topic, message.content_type, message.correlation)

    # What became of a message, on the network thread or on the sender's own

    def _ended(self, lane: Lane, message: Outgoing, ending: Ending) -> None:
        try:
            if ending.kind == "acknowledged":
                self._end(lane, message)
            elif ending.kind == "lost":
                self._lost(lane, message, ending.suspicious and ending.proved)
            elif ending.code == PACKET_TOO_LARGE:
                self._fit(lane, message, f"{lane.topic}: {ending.reason}", None)
            elif ending.code in FOR_GOOD:
                self._give_up(lane, message, f"{lane.topic}: {ending.reason}")
            else:
                self._refused(lane, ending.reason)
        finally:
            self._wake.set()

    def _refused(self, lane: Lane, reason: str) -> None:
        self._counters.add("outbox_refused")
        self._trouble.refused(lane.topic, reason, self._lanes.put_off(lane))

    def _lost(self, lane: Lane, message: Outgoing, suspicious: bool) -> None:
        if suspicious:
            lane.strikes += 1
        if lane.strikes >= STRIKES:
            self._fit(lane, message, f"{lane.topic}: the broker closes the connection over it", None)
        else:
            self._lanes.put_back(lane)

    def _fit(self, lane: Lane, message: Outgoing, why: str, room: int | None) -> None:
        """Send it shortened. One that was shortened already, or cannot be, is given up."""
        shorter = shorten(message, room)
        if shorter is None:
            self._give_up(lane, message, why)
            return
        self._counters.add("outbox_shortened")
        self._trouble.too_large(why, len(message.payload), "shortened")
        lane.first.message = shorter
        lane.strikes = min(lane.strikes, STRIKES - 2)
        self._lanes.put_back(lane)

    def _give_up(self, lane: Lane, message: Outgoing, why: str) -> None:
        self._counters.add("outbox_given_up")
        self._trouble.too_large(why, len(message.payload), "given up")
        self._end(lane, message)
        for tell in self.on_given_up:
            tell(message, why)
        if (event := farewell(message, why)) is not None:
            self.put(event)

    def _end(self, lane: Lane, message: Outgoing) -> None:
        self._trouble.taken(lane.topic)
        try:
            if message.id:
                self._store.delivered(message.id)
        except StoreError as error:  # it is still on disk, and goes once more after the next start
            self._counters.add("store_errors")
            log.error("%s", error)
        finally:
            self._lanes.done(lane)
