"""Commands on the network thread: on disk first, acknowledged then."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import pytest

from lineside.edge.calls.calls import Calls
from lineside.edge.commands.inbox import Commands
from lineside.edge.counters import Counters
from lineside.edge.degraded import Degraded
from lineside.edge.errors import StoreError
from lineside.edge.models import NoModel
from lineside.edge.wire.identity import Delivery
from lineside.edge.wire.messages import Reply
from lineside.edge.wire.mqtt import Connection
from lineside.edge.wire.outbox import Outbox
from lineside.edge.wire.store import Outgoing, Store, StoredCommand
from lineside.edge.wire.traffic import Message
from lineside.runtime.errors import BundleError, RequestCancelled
from tests.support.station import TOPICS, station
from tests.support.wait import LIMIT_S


class PowerCut(BaseException):
    """Ends the process wherever it is."""


class Disk(Store):
    """A store whose next take-over ends as `problem` says."""

    problem: BaseException | None = None

    def take_over(self, command: StoredCommand, unmarked: Delivery | None = None) -> bool:
        if self.problem is not None:
            raise self.problem
        return super().take_over(command, unmarked)


class Inbox:
    """The commands of a station that never connects: nothing goes out but into the outbox on disk."""

    def __init__(self, folder: Path) -> None:
        config = station(1, folder, tools={})
        self.store, self.counters = Disk(folder / "s.db", 100), Counters()
        line = cast(Connection, None)
        outbox = Outbox(self.store, line, self.counters, Degraded())
        self.calls = Calls(config, TOPICS, self.store, outbox, line, self.counters)
        model = NoModel("commands", folder, BundleError("none is there"))
        self.commands = Commands(config, TOPICS, model, self.store, outbox, self.calls, self.counters)
        self.acknowledged: list[tuple[int, int]] = []

    def accept(
        self,
        text: str = "stop",
        *,
        retain: bool = False,
        topic: str = "",
        correlation: bytes = b"c",
        qos: int = 1,
        packet_id: int = 1,
        dup: bool = False,
    ) -> None:
        """Notes at its acknowledgement how many commands and how many replies are on disk."""
        noted = self._acknowledge
        message = Message("", text.encode(), qos, retain, topic, correlation, None, {}, noted, packet_id, dup, "s")
        self.commands.accept("ask", message)

    def _acknowledge(self) -> None:
        self.acknowledged.append((len(self.store.waiting_commands(100)), len(self.replies())))

    def replies(self) -> list[Reply]:
        return [Reply.model_validate_json(message.payload) for message in self.store.pending(0, 100)]

    def codes(self) -> list[str]:
        return [reply.error.code for reply in self.replies() if reply.error is not None]


@pytest.fixture
def inbox(tmp_path: Path) -> Iterator[Inbox]:
    opened = Inbox(tmp_path)
    yield opened
    opened.store.close()


def test_a_command_is_on_disk_when_it_is_acknowledged(inbox: Inbox) -> None:
    inbox.accept("stop")
    inbox.accept("start")
    assert inbox.acknowledged == [(1, 0), (2, 0)]


def test_a_power_cut_before_it_is_on_disk_leaves_it_to_the_broker(inbox: Inbox) -> None:
    inbox.store.problem = PowerCut()
    with pytest.raises(PowerCut):
        inbox.accept()
    assert inbox.acknowledged == []


def test_a_duplicate_is_acknowledged_once_and_kept_once(inbox: Inbox) -> None:
    inbox.accept()
    inbox.accept()
    assert inbox.acknowledged == [(1, 0), (1, 0)]
    assert inbox.counters.snapshot() == {"commands_received": 2, "commands_duplicate": 1}


def test_an_answered_duplicate_has_its_answer_on_disk_when_it_is_acknowledged(inbox: Inbox) -> None:
    inbox.accept()
    (command,) = inbox.store.waiting_commands(10)
    reply = Reply(command="ask", ok=True, text="done")
    inbox.store.answer(command, Outgoing(command.response_topic, reply.encode(), "application/json"), send=False)
    inbox.accept()
    assert inbox.acknowledged == [(1, 0), (0, 1)]
    assert [answer.text for answer in inbox.replies()] == ["done"]


def test_a_refused_command_has_its_reply_on_disk_when_it_is_acknowledged(inbox: Inbox) -> None:
    inbox.accept(topic="another/station/call/stop")
    assert inbox.acknowledged == [(0, 1)]
    assert inbox.codes() == ["response_topic_refused"]


def test_a_refusal_has_the_same_id_at_each_delivery(inbox: Inbox) -> None:
    for correlation in (b"c", b""):
        inbox.accept(topic="other", correlation=correlation)
        inbox.accept(topic="other", correlation=correlation, dup=True)
    inbox.accept(topic="other", correlation=b"", packet_id=2)
    first, second, third, fourth, fifth = (reply.id for reply in inbox.replies())
    assert (first, third) == (second, fourth)
    assert len({first, third, fifth}) == 3


@pytest.mark.parametrize("text", ["stop", '{"text": "stop", "transaction": "t"}'])
@pytest.mark.parametrize("correlation", [b"", b"c"])
def test_a_redelivery_is_known_by_what_it_carries_or_how_it_came(inbox: Inbox, text: str, correlation: bytes) -> None:
    """With a mark the packet id does not matter, without one it does."""
    marked = bool(correlation) or "transaction" in text
    inbox.accept(text, correlation=correlation)
    inbox.accept(text, correlation=correlation, dup=True)
    assert len(inbox.store.waiting_commands(10)) == 1
    inbox.accept(text, correlation=correlation, packet_id=2)
    assert len(inbox.store.waiting_commands(10)) == (1 if marked else 2)


def test_two_commands_without_a_mark_or_an_acknowledgement_are_two(inbox: Inbox) -> None:
    """QoS 0 has no packet id, and nobody delivers it again."""
    for _ in range(2):
        inbox.accept(correlation=b"", qos=0, packet_id=0)
    assert len(inbox.store.waiting_commands(10)) == 2


def test_a_full_disk_is_said_before_it_is_acknowledged(inbox: Inbox) -> None:
    inbox.store.problem = StoreError("no space")
    inbox.accept()
    assert inbox.acknowledged == [(0, 1)]
    assert inbox.codes() == ["storage"]


def test_a_retained_command_is_acknowledged_and_not_kept(inbox: Inbox) -> None:
    inbox.accept(retain=True)
    assert inbox.acknowledged == [(0, 0)]
    assert inbox.counters.snapshot() == {"commands_ignored_retained": 1}


def test_a_command_that_a_stop_breaks_off_stays_for_the_next_start(
    inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    under_way, stopping = threading.Event(), threading.Event()
    monkeypatch.setattr(inbox.calls, "close", stopping.set)

    def ask(_command: StoredCommand, _waiting: Callable[[], None]) -> Reply:
        under_way.set()
        assert stopping.wait(LIMIT_S)
        raise RequestCancelled("the station is stopping")

    inbox.commands.handlers["ask"] = ask
    inbox.commands.start()
    inbox.accept()
    assert under_way.wait(LIMIT_S)
    inbox.commands.close()
    assert inbox.replies() == []
    assert len(inbox.store.waiting_commands(10)) == 1
