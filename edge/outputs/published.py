"""An output that is a message on the station's own broker."""

from __future__ import annotations

import threading
import time

from lineside.devices.errors import LinkError
from lineside.edge.errors import BrokerError
from lineside.edge.wire.mqtt import Connection
from lineside.edge.wire.traffic import Ending

FIRST_S = 10.0
"""The connection is made after the outputs have been started: so long their safe state waits for it."""
LOOK_S = 0.1


class Published:
    """Goes past the outbox: what cannot go now is not wanted later."""

    def __init__(self, connection: Connection, topic: str, retain: bool, timeout_s: float) -> None:
        self._connection, self._topic, self._retain, self._timeout_s = connection, topic, retain, timeout_s
        self._waited = False
        self._closed = threading.Event()

    def connect(self) -> None:
        """The first time, wait for the connection; a part's message waits for none.

        Raises:
            LinkError: there is none.
        """
        limit_s, self._waited = 0.0 if self._waited else FIRST_S, True
        deadline = time.monotonic() + limit_s
        while limit_s and not self._closed.is_set() and time.monotonic() < deadline:
            if self._connection.connected.wait(LOOK_S):
                return
        self.probe()

    def send(self, body: bytes, content_type: str) -> None:
        """Returns when the broker has it.

        Raises:
            LinkError: it has not, or nobody knows.
        """
        self.probe()
        deadline = time.monotonic() + self._timeout_s
        ended, endings = threading.Event(), list[Ending]()

        def take(ending: Ending) -> None:
            endings.append(ending)
            ended.set()

        try:
            self._connection.publish(
                self._topic,
                body,
                retain=self._retain,
                content_type=content_type,
                expiry_s=None if self._retain else self._timeout_s,
                deadline=deadline,
                ended=take,
            )
        except BrokerError as error:
            raise LinkError(f"{self._name}: {error}") from error
        if not ended.wait(self._timeout_s):
            raise LinkError(f"{self._name}: not acknowledged by the broker within {self._timeout_s:g} s")
        if endings[0].kind != "acknowledged":
            raise LinkError(f"{self._name}: {endings[0].reason or 'the connection broke before the broker had it'}")

    def probe(self) -> None:
        """Raises LinkError where there is no connection."""
        if not self._connection.connected.is_set():
            raise LinkError(f"{self._name}: there is no connection to the broker")

    def close(self) -> None:
        """What waits for a connection gives up."""
        self._closed.set()

    @property
    def _name(self) -> str:
        return f"mqtt {self._topic}"
