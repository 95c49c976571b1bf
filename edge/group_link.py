"""The connection on which a member takes its part of what comes to its group.

It is one of its own, with a small window: the broker keeps what the member is not busy with. A message is acknowledged
when it has been answered, so that a member that dies takes nothing with it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from lineside.edge.commands.inbox import Commands
from lineside.edge.config import Config
from lineside.edge.counters import Counters
from lineside.edge.degraded import Degraded
from lineside.edge.frames.camera_watch import CameraWatch
from lineside.edge.frames.intake import FrameIntake
from lineside.edge.wire.acknowledgements import Window
from lineside.edge.wire.heirs import Heirs
from lineside.edge.wire.mqtt import Connection
from lineside.edge.wire.topics import GroupTopics
from lineside.edge.wire.traffic import Message

log = logging.getLogger("lineside.group")
AT_ONCE = 2
"""Messages that a member has taken and not answered: one under way, and one behind it."""


class GroupLink:
    """Hands on what comes; says in `degraded` why nothing does. It does nothing where the station is in no group.

    Args:
        client_id: of the station; this connection has `-group` behind it.
        changed: called when it stands, and when it is known why it does not.
    """

    def __init__(
        self,
        config: Config,
        client_id: str,
        frames: FrameIntake,
        commands: Commands,
        watch: CameraWatch,
        changed: Callable[[], None],
        counters: Counters,
        degraded: Degraded,
        session_mark: Callable[[str, bool], str],
        leader: Connection,
    ) -> None:
        self._frames, self._commands, self._watch, self._changed = frames, commands, watch, changed
        self._counters, self._degraded = counters, degraded
        self._topics = topics = GroupTopics(config.group_topic, config.group.name)
        self.connection: Connection | None = None
        self._heirs: Heirs | None = None
        if not config.group.name:
            return
        own, window = f"{client_id}-group", Window(AT_ONCE)
        self.connection = Connection(
            config.broker_access,
            own,
            topics.member(own),
            [*topics.subscriptions(), (topics.member("+"), 0)],
            self._take,
            self._stands,
            counters,
            session_mark=session_mark,
            degraded=degraded,
            window=window,
            on_trouble=self._lost,
            leader=leader,
        )
        self._heirs = Heirs(
            config.broker_access, topics, own, self.connection, self._take, counters, session_mark, window
        )

    @property
    def settled(self) -> bool:
        """Whether it stands, or it is known why it does not."""
        return self.connection is None or self.connection.connected.is_set() or bool(self.connection.problem)

    def start(self) -> None:
        if self.connection is not None and self._heirs is not None:
            self._heirs.start()
            self.connection.start()

    def connect_now(self) -> None:
        """The broker is there: do not wait with the next attempt."""
        if self.connection is not None:
            self.connection.connect_now()

    def close(self) -> None:
        if self.connection is not None and self._heirs is not None:
            self._heirs.close()
            self.connection.stop()

    # On the network thread

    def _take(self, message: Message) -> None:
        """Whatever a message does to its handler, it is acknowledged: the broker would send it again for ever."""
        if self._heirs is not None and (member := self._topics.member_of(message.topic)):
            self._heirs.heard(member, message.payload)
        parsed = self._topics.parse(message.topic)
        if parsed is None:
            message.acknowledge()
            return
        try:
            self._hand_on(*parsed, message)
        except Exception:  # part of both boundaries: counted and logged
            self._counters.add("messages_failed")
            log.exception("a message on %s could not be handled", message.topic)
            message.acknowledge()

    def _hand_on(self, kind: str, name: str, message: Message) -> None:
        if kind == "cmd":
            self._commands.accept(name, message, shared=True)
            return
        if not message.retain:
            self._watch.arrived(name)
        self._frames.accept(name, message, shared=True)

    def _stands(self) -> None:
        self._degraded.clear("group")
        if self._heirs is not None:
            self._heirs.wake()
        self._changed()

    def _lost(self, cause: str) -> None:
        self._degraded.set("group", f"nothing comes from the group {self._topics.name}: {cause}")
        self._changed()
