"""What a member of a group leaves behind when it dies: the others take it up.

A broker may go on giving a dead member its share, and keep it for a session that nobody comes back to (Mosquitto does
both). So each member says `online` on `member/{client id}`, retained, and the broker says `offline` as its will. Then
the first of the others, by client id, connects under that id: it gives the subscription up, so that nothing more comes
there, takes what the session holds, and ends it. Where the member returns it takes its id back, and the heir lets go.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from paho.mqtt.packettypes import PacketTypes

from lineside.edge.counters import Counters
from lineside.edge.degraded import Degraded
from lineside.edge.errors import BrokerError
from lineside.edge.mqtt_config import MqttConfig
from lineside.edge.wire.acknowledgements import Window
from lineside.edge.wire.mqtt import Connection
from lineside.edge.wire.network import Again
from lineside.edge.wire.paho_client import properties
from lineside.edge.wire.topics import GroupTopics
from lineside.edge.wire.traffic import Message

log = logging.getLogger("lineside.group")
ONLINE, OFFLINE = b"online", b"offline"
IDLE_S = 3.0
"""A session that has given nothing for so long, while nothing of it waited for its answer, has nothing more."""
LOOK_S = 1.0
AGAIN_S, NEVER_S = 30.0, 24 * 3600.0


class Borrowed(Connection):
    """Under another's client id, once: what ends it, the owner's return or the broker, ends it for good.

    Attributes:
        over: set where it has ended.
    """

    def __init__(self, *arguments: object, **options: object) -> None:
        self.over, self._heard = threading.Event(), time.monotonic()
        super().__init__(*arguments, **options)  # type: ignore[arg-type]

    def is_done(self) -> bool:
        """Whether all that came has been answered, and nothing has come since. To be asked again and again: only when a
        message has been answered the broker sends the next.
        """
        now = time.monotonic()
        if self._acknowledgements.waiting() or not self.connected.is_set():
            self._heard = now
        return now - self._heard > IDLE_S

    def _handle_message(self, client: Any, data: Any, message: Any) -> None:
        self._heard = time.monotonic()
        super()._handle_message(client, data, message)

    def failed(self, _error: Exception) -> Again:
        self.over.set()
        return Again(least_s=NEVER_S)

    def lost(self) -> Again:
        self._stopping = True  # so that nothing is said of it
        super().lost()
        self.over.set()
        return Again(least_s=NEVER_S)

    def end_session(self) -> None:
        """The broker keeps nothing of the session."""
        attached = properties(PacketTypes.DISCONNECT)
        attached.SessionExpiryInterval = 0
        self._stopping = True
        self._takeovers.close()
        self._network.stop(lambda: self._client.disconnect(properties=attached))


class Heirs:
    """Knows the members of a group, and takes up what dead ones left.

    Args:
        own: client id of this member's connection to the group, `link`.
        take: a message of a dead member's.
    """

    def __init__(
        self,
        config: MqttConfig,
        topics: GroupTopics,
        own: str,
        link: Connection,
        take: Callable[[Message], None],
        counters: Counters,
        session_mark: Callable[[str, bool], str],
        window: Window,
    ) -> None:
        self._config, self._topics, self._own, self._link = config, topics, own, link
        self._hand_on, self._counters, self._session_mark, self._window = take, counters, session_mark, window
        self._lock = threading.Lock()
        self._members: dict[str, bool] = {}
        self._estates: dict[str, Borrowed] = {}
        self._not_before: dict[str, float] = {}
        self._wake, self._closed = threading.Event(), False
        self._thread = threading.Thread(target=self._run, name="heirs", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Leave all that is not done to the next heir, this member's own with it."""
        self._closed = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5)
        for estate in self._estates.values():
            estate.stop()
        if self._link.connected.is_set():
            self._say(self._own, OFFLINE)

    def wake(self) -> None:
        """The connection stands: say so, and look who is missing."""
        self._wake.set()

    def heard(self, member: str, payload: bytes) -> None:
        """On the network thread: a member says how it is, or the broker says it of one."""
        with self._lock:
            if not payload:
                self._members.pop(member, None)
            else:
                self._members[member] = payload == ONLINE
        self._wake.set()

    def _run(self) -> None:
        while not self._closed:
            self._wake.wait(LOOK_S)
            self._wake.clear()
            if not self._closed and self._link.connected.is_set():
                self._look()

    def _look(self) -> None:
        with self._lock:
            members = dict(self._members)
        if not members.get(self._own, False):
            self._say(self._own, ONLINE)
        for member, estate in list(self._estates.items()):
            if members.get(member, True) or estate.over.is_set():
                self._not_before[member] = time.monotonic() + AGAIN_S
                self._estates.pop(member).stop()
            elif estate.is_done():
                estate.end_session()
                del self._estates[member], members[member]
                self.heard(member, b"")
                self._say(member, b"")
                log.info("%s has left nothing more to the group", member)
        living = [member for member, online in members.items() if online and member != self._own]
        if min([self._own, *living]) != self._own:
            return
        for member, online in members.items():
            due = time.monotonic() >= self._not_before.get(member, 0.0)
            if not online and member != self._own and member not in self._estates and due:
                self._inherit(member)

    def _inherit(self, member: str) -> None:
        log.warning("%s is gone: what the broker holds for it is taken up here", member)
        self._counters.add("group_members_inherited")
        self._estates[member] = estate = Borrowed(
            self._config,
            member,
            "",
            [(self._topics.member(member), 0)],
            self._hand_on,
            self._wake.set,
            self._counters,
            session_mark=self._session_mark,
            degraded=Degraded(),
            left=tuple(topic for topic, _ in self._topics.subscriptions()),
            window=self._window,
            leader=self._link,
        )
        estate.start()

    def _say(self, member: str, payload: bytes) -> None:
        """Tried again at the next look where it cannot be said."""
        try:
            self._link.publish(self._topics.member(member), payload, retain=True, content_type="text/plain")
        except BrokerError as error:
            log.info("%s", error)
