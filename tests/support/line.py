"""A connection to a test's broker without a station around it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from lineside.edge.counters import Counters
from lineside.edge.degraded import Degraded
from lineside.edge.mqtt_config import MqttConfig
from lineside.edge.wire.acknowledgements import Window
from lineside.edge.wire.mqtt import Connection
from lineside.edge.wire.traffic import Message

LIMIT_S = 30.0


class Line:
    """Collects what comes on `in/+`; acknowledges at once where `acknowledges` says so."""

    def __init__(
        self,
        port: int,
        *,
        acknowledges: bool = True,
        window: Window | None = None,
        config: MqttConfig | None = None,
        client_id: str = "line",
        leader: Connection | None = None,
    ) -> None:
        self.degraded = Degraded()
        self.counters = Counters()
        self.received: list[Message] = []
        self.causes: list[str] = []
        self.stands = 0
        self.acknowledges = acknowledges
        self._condition = threading.Condition()
        self.connection = Connection(
            config or MqttConfig(host="127.0.0.1", port=port),
            client_id,
            "",
            [("in/+", 1)],
            self._take,
            self._count,
            self.counters,
            session_mark=lambda _name, _present: "",
            degraded=self.degraded,
            window=window,
            on_trouble=self._note,
            leader=leader,
        )

    def __enter__(self) -> Line:
        self.connection.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.stop()

    def wait_until(self, holds: Callable[[], bool], what: str) -> None:
        """For anything that comes with a message, a connection or its loss."""
        deadline = time.monotonic() + LIMIT_S
        with self._condition:
            while not holds():
                assert time.monotonic() < deadline, what
                self._condition.wait(0.05)

    def wait_online(self, times: int = 1) -> None:
        self.wait_until(lambda: self.stands >= times and self.connection.connected.is_set(), "no connection")

    def wait_for(self, *payloads: bytes) -> list[Message]:
        """Until so many messages have come; they must be these."""
        self.wait_until(lambda: len(self.received) >= len(payloads), f"{len(self.received)} of {payloads}")
        assert [message.payload for message in self.received] == list(payloads)
        return self.received

    def _take(self, message: Message) -> None:
        with self._condition:
            self.received.append(message)
            self._condition.notify_all()
        if self.acknowledges:
            message.acknowledge()

    def _count(self) -> None:
        with self._condition:
            self.stands += 1
            self._condition.notify_all()

    def _note(self, cause: str) -> None:
        with self._condition:
            self.causes.append(cause)
            self._condition.notify_all()
