"""Triggers on disk: each is new once, waits until its result is there, and is answered from then on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lineside.edge.wire.identity import Delivery, Use
from lineside.edge.wire.remembered import FrameAnswer
from lineside.edge.wire.store import Outgoing, Store
from lineside.edge.wire.trigger_store import Arriving, PartAnswer, StoredTrigger, TriggerStore

RESULT = Outgoing("a/result/eye", b"{}", "application/json")
TRIGGER = StoredTrigger("digest", "eye", "", "A", 1000.0)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "lineside.db", 100)
    yield opened
    opened.close()


def take(store: Store, *arriving: Arriving) -> list[str]:
    return [how for _, how in TriggerStore(store).take_over(arriving, lasting=True)]


def test_a_trigger_waits_until_it_is_answered(store: Store) -> None:
    assert take(store, Arriving(TRIGGER), Arriving(TRIGGER)) == ["new", "waits"]
    assert TriggerStore(store).waiting() == [TRIGGER]
    store.enqueue(RESULT, PartAnswer(TRIGGER.id))
    assert TriggerStore(store).waiting() == []
    assert take(store, Arriving(TRIGGER)) == ["answered"]
    assert [message.topic for message in store.pending(0, 10)] == [RESULT.topic, RESULT.topic]


def test_one_whose_outputs_are_not_done_yet_waits(store: Store) -> None:
    """And is not looked at anew after a kill."""
    take(store, Arriving(TRIGGER))
    store.hold(TRIGGER.id, RESULT, PartAnswer(TRIGGER.id))
    assert TriggerStore(store).waiting() == []
    assert take(store, Arriving(TRIGGER)) == ["waits"]
    assert store.outbox_size() == 0
    assert store.release_held() == 1
    assert take(store, Arriving(TRIGGER)) == ["answered"]
    assert store.outbox_size() == 2


def test_one_without_an_id_is_known_by_its_delivery(store: Store) -> None:
    def delivered(packet: int, *, dup: bool) -> Arriving:
        return Arriving(TRIGGER, Delivery("session", packet, dup))

    assert take(store, delivered(1, dup=False), delivered(2, dup=False)) == ["new", "new"]
    assert take(store, delivered(1, dup=True)) == ["waits"]
    assert take(store, delivered(1, dup=False)) == ["new"]
    assert len({trigger.id for trigger in TriggerStore(store).waiting()}) == 3


def test_one_that_is_refused_is_not_kept_and_is_told_from_others(store: Store) -> None:
    refused = [Arriving(TRIGGER, Delivery("session", packet, False), refused=True) for packet in (1, 2)]
    taken = TriggerStore(store).take_over(refused, lasting=True)
    assert [how for _, how in taken] == ["refused", "refused"]
    assert taken[0][0].id != taken[1][0].id
    assert TriggerStore(store).waiting() == []


def test_the_frames_of_a_part_are_known_again_and_not_answered_again(store: Store) -> None:
    frame = FrameAnswer("delivery", Delivery("session", 3, False), Use("content", 1), again=False)
    store.enqueue(RESULT, PartAnswer(TRIGGER.id, (frame,)))
    answer = store.answered_frame(("frame", "delivery"))
    assert answer is not None
    assert not answer.topic
    assert store.last_use(Delivery("session", 3, True)) == Use("content", 1)
