"""Which request a delivery is, told by the session, the packet id and DUP alone."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lineside.edge.wire.identity import Delivery, Use, next_use, request_id
from lineside.edge.wire.store import Outgoing, Store, StoredCommand


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "s.db", 100)
    yield opened
    opened.close()


def take(store: Store, content: str, packet_id: int, *, dup: bool = False, session: str = "s") -> bool:
    command = StoredCommand("ask", b"stop", "rsp", None, time.time() + 60, request_id(content))
    return store.take_over(command, Delivery(session, packet_id, dup))


def answer_all(store: Store) -> None:
    for command in store.waiting_commands(100):
        store.answer(command, Outgoing(command.response_topic, b"done", "application/json"), send=False)


@pytest.mark.parametrize("answered", [False, True])
def test_a_redelivery_is_the_same_request(store: Store, answered: bool) -> None:
    assert take(store, "stop", 7)
    if answered:
        answer_all(store)
    assert not take(store, "stop", 7, dup=True)
    assert not take(store, "stop", 7, dup=True)


def test_two_that_were_sent_are_two(store: Store) -> None:
    """With packet ids of their own, and with one that is free again."""
    assert take(store, "stop", 7)
    assert take(store, "stop", 8)
    answer_all(store)
    assert take(store, "stop", 7)
    assert not take(store, "stop", 7, dup=True)


def test_a_first_delivery_that_was_lost_is_new_when_it_comes_again(store: Store) -> None:
    assert take(store, "stop", 7, dup=True)
    assert not take(store, "stop", 7, dup=True)
    answer_all(store)
    assert take(store, "start", 7, dup=True)


def test_a_new_session_uses_its_packet_ids_anew(store: Store) -> None:
    assert take(store, "stop", 7)
    assert take(store, "stop", 7, dup=True, session="another")


def test_the_mark_of_a_session_lasts_as_long_as_the_session(tmp_path: Path) -> None:
    """Over a restart of the daemon; each client id and broker has its own."""
    store = Store(tmp_path / "s.db", 100)
    mark = store.session_mark("a", present=True)
    assert store.session_mark("a", present=True) == mark
    assert store.session_mark("b", present=True) != mark
    store.close()
    store = Store(tmp_path / "s.db", 100)
    assert store.session_mark("a", present=True) == mark
    assert store.session_mark("a", present=False) != mark
    store.close()


def test_what_belongs_to_a_session_that_is_over_is_forgotten(store: Store) -> None:
    mark = store.session_mark("a", present=False)
    take(store, "stop", 7, session=mark)
    assert store.last_use(Delivery(mark, 7, dup=True)) is not None
    store.session_mark("a", present=False)
    assert store.last_use(Delivery(mark, 7, dup=True)) is None


def test_parts_do_not_run_into_each_other() -> None:
    assert request_id("ab", "c") != request_id("a", "bc")
    assert request_id("a", b"b") == request_id("a", "b")
    assert next_use(Use("x", 3), "x", dup=False) == Use("x", 4)
