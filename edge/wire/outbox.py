"""Sends what the store's outbox holds, oldest first, and forgets a message when the broker has acknowledged it."""

from __future__ import annotations

import logging
import threading
import time

from lineside.edge.counters import Counters
from lineside.edge.errors import BrokerError, QueueFull, StoreError
from lineside.edge.wire.mqtt import INFLIGHT, Connection
from lineside.edge.wire.store import FrameAnswer, Outgoing, Store

log = logging.getLogger("lineside.outbox")
IDLE_S = 0.5


class Outbox:
    """One sender thread. `put` returns as soon as the message is on disk.

    While the disk refuses writes, messages are kept in memory, up to `MEMORY_LIMIT`, and sent from there.
    """

    MEMORY_LIMIT = 1000

    def __init__(self, store: Store, connection: Connection, counters: Counters) -> None:
        self._store, self._connection, self._counters = store, connection, counters
        self._wake = threading.Event()
        self._closed = threading.Event()
        self._slots = threading.Semaphore(INFLIGHT)
        self._memory: list[Outgoing] = []
        self._memory_lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="outbox", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def put(self, message: Outgoing, answers: FrameAnswer | None = None) -> None:
        """`answers`: which frame, so that a redelivery of it is known again."""
        try:
            lost = self._store.enqueue(message, answers)
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
        self._counters.add("store_errors")
        with self._memory_lock:
            if len(self._memory) >= self.MEMORY_LIMIT:
                self._memory.pop(0)
                self._counters.add("outbox_dropped")
            self._memory.append(message)
        log.error("kept in memory only: %s", error)

    def drain(self, timeout_s: float) -> bool:
        """Wait until everything was acknowledged; False where `timeout_s` was not enough."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if not self._memory and self._store.outbox_size() == 0:
                return True
            time.sleep(0.05)
        return False

    def close(self) -> None:
        self._closed.set()
        self._wake.set()
        self._slots.release()
        self._thread.join(timeout=5)

    def _run(self) -> None:
        sent_up_to = 0
        while not self._closed.is_set():
            self._wake.wait(IDLE_S)
            self._wake.clear()
            try:
                sent_up_to = self._send_all(sent_up_to)
            except StoreError as error:
                self._counters.add("store_errors")
                log.error("%s", error)
                self._closed.wait(IDLE_S)

    def _send_all(self, sent_up_to: int) -> int:
        """Send until nothing is left. What was handed to paho is resent by paho itself after a reconnect."""
        while self._connection.connected.is_set() and not self._closed.is_set():
            batch = self._take_memory() or self._store.pending(sent_up_to, INFLIGHT)
            if not batch:
                break
            for index, message in enumerate(batch):
                self._slots.acquire()
                if self._closed.is_set():
                    return sent_up_to
                try:
                    self._send(message)
                except QueueFull:
                    self._slots.release()
                    self._put_back(batch[index:])
                    self._closed.wait(IDLE_S)
                    return sent_up_to
                sent_up_to = max(sent_up_to, message.id)
        return sent_up_to

    def _take_memory(self) -> list[Outgoing]:
        with self._memory_lock:
            taken, self._memory = self._memory, []
        return taken

    def _put_back(self, messages: list[Outgoing]) -> None:
        """Those that are in memory only; the store still has the others."""
        with self._memory_lock:
            self._memory[:0] = [message for message in messages if not message.id]

    def _send(self, message: Outgoing) -> None:
        """Raises QueueFull. An expired message is dropped, one that the broker does not take as well."""
        if message.expires is not None and message.expires < time.time():
            self._counters.add("outbox_expired")
            self._acknowledged(message.id)
            return
        expiry_s = int(message.expires - time.time()) if message.expires else None
        try:
            self._connection.publish(
                message.topic,
                message.payload,
                content_type=message.content_type,
                correlation=message.correlation,
                expiry_s=expiry_s,
                delivered=lambda: self._acknowledged(message.id),
            )
        except QueueFull:
            raise
        except BrokerError as error:
            self._counters.add("outbox_oversize")
            log.error("dropped: %s", error)
            self._acknowledged(message.id)

    def _acknowledged(self, message_id: int) -> None:
        self._slots.release()
        if message_id:
            self._store.delivered(message_id)
