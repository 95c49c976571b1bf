"""The connection on which devices say their states.

It is one of its own: a device that talks without end holds no command up, and a topic that the broker refuses takes
neither commands nor frames away. Its subscriptions have QoS 0: nothing of them is kept for a station that is away,
since a state of then is none of now.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from lineside.edge.calls.states import States
from lineside.edge.counters import Counters
from lineside.edge.degraded import Degraded
from lineside.edge.mqtt_config import MqttConfig
from lineside.edge.wire.identity import without_mark
from lineside.edge.wire.mqtt import Connection
from lineside.edge.wire.traffic import Message

if TYPE_CHECKING:
    from lineside.edge.calls.kuksa import KuksaLink


class StateLink:
    """Hears for `states`: from the databroker where there is one, and on a connection as `{client_id}-states`, to the
    broker that `leader` has found. Does nothing where no tool has a state.
    """

    def __init__(
        self,
        config: MqttConfig,
        client_id: str,
        states: States,
        counters: Counters,
        degraded: Degraded,
        session_mark: Callable[[str, bool], str],
        leader: Connection,
        kuksa: KuksaLink | None = None,
    ) -> None:
        self._states, self._degraded, self._kuksa = states, degraded, kuksa
        self.connection: Connection | None = None
        if states.topics:
            self.connection = Connection(
                config,
                f"{client_id}-states",
                "",
                [(topic, 0) for topic in states.topics],
                self._take,
                self._stands,
                counters,
                session_mark=session_mark,
                degraded=degraded,
                on_trouble=self._lost,
                leader=leader,
            )

    def start(self) -> None:
        if self._kuksa is not None:
            self._kuksa.hear(self._states)
        if self.connection is not None:
            self.connection.start()

    def connect_now(self) -> None:
        """The broker is there: do not wait with the next attempt."""
        if self.connection is not None:
            self.connection.connect_now()

    def close(self) -> None:
        if self._kuksa is not None:
            self._kuksa.stop_hearing()
        if self.connection is not None:
            self.connection.stop()

    # On the network thread

    def _take(self, message: Message) -> None:
        try:
            self._states.take(message.topic, without_mark(message.payload), retained=message.retain)
        finally:
            message.acknowledge()

    def _stands(self) -> None:
        self._degraded.clear("states")

    def _lost(self, cause: str) -> None:
        self._states.forget()
        self._degraded.set("states", f"states of tools may not be known: {cause}")
