"""Guests of the engine: one at a time, behind frames and commands, and for as long as a client waits."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import openai
import pytest

from lineside.edge.http.line import WAITING, Line, Ticket
from lineside.runtime.assistant import ask
from lineside.runtime.chat import Message
from lineside.runtime.engine.engine import Engine, Limits
from lineside.runtime.engine.sampling import GREEDY
from lineside.runtime.engine.scheduler import Priority, Request
from lineside.runtime.timings import Spent
from tests.support.served import Station, one_model, served
from tests.support.wait import LIMIT_S, until

HELLO = [Message("user", ("Hello",))]
LONG = 200


@pytest.fixture
def engine(float_bundle: Path) -> Engine:
    """It holds one cache of 256 tokens at a time."""
    cost = Engine.open(float_bundle, threads=1).pool.cost(256)
    return Engine.open(float_bundle, threads=1, limits=Limits(kv_cache_bytes=cost))


@pytest.fixture
def station(engine: Engine, tmp_path: Path) -> Iterator[Station]:
    with served(one_model(engine), tmp_path, max_tokens=LONG) as station:
        yield station


@pytest.fixture
def ended(engine: Engine) -> list[Spent]:
    """What the guests took that have ended."""
    guests: list[Spent] = []

    def note(request: Request, spent: Spent) -> None:
        if request.priority is Priority.GUEST:
            guests.append(spent)

    engine.on_ended = note
    return guests


def at_first_piece(monkeypatch: pytest.MonkeyPatch, then: Callable[[Ticket], object]) -> None:
    """On the line's thread, between two tokens of the first answer."""
    say, done = Ticket.say, threading.Event()

    def saying(ticket: Ticket, text: str) -> bool:
        said = say(ticket, text)
        if not done.is_set():
            done.set()
            then(ticket)
        return said

    monkeypatch.setattr(Ticket, "say", saying)


def asked(station: Station, *, stream: bool = False) -> str:
    """The whole text."""
    client = station.client()
    if stream:
        pieces = client.chat.completions.create(model="", messages=[{"role": "user", "content": "Hello"}], stream=True)
        return "".join(piece.choices[0].delta.content or "" for piece in pieces)
    given = client.chat.completions.create(model="", messages=[{"role": "user", "content": "Hello"}])
    return given.choices[0].message.content or ""


def test_a_client_that_leaves_in_the_middle_frees_the_engine(
    station: Station, engine: Engine, ended: list[Spent], monkeypatch: pytest.MonkeyPatch
) -> None:
    at_first_piece(monkeypatch, lambda ticket: ticket.gone.wait(LIMIT_S))
    client = station.client()
    with client.chat.completions.create(
        model="", messages=[{"role": "user", "content": "Hello"}], stream=True
    ) as pieces:
        assert next(piece for piece in pieces if piece.choices[0].delta.content)
    until(lambda: ended)
    assert engine.pool.statistics().busy == 0
    assert ended[0].counts.generated < LONG // 2


def test_a_client_that_leaves_before_its_answer_frees_the_engine(station: Station, engine: Engine) -> None:
    with engine.scheduler.turn(Request()):
        client = station.client().with_options(timeout=0.3)
        with pytest.raises(openai.APITimeoutError):
            client.chat.completions.create(model="", messages=[{"role": "user", "content": "Hello"}])
        until(lambda: station.statuses() == {"499": 1})
        assert engine.scheduler.waiting == 0
    assert engine.pool.statistics().busy == 0


def frame(engine: Engine) -> None:
    ask(engine, [Message("user", ("Frame",))], max_tokens=1, sampling=GREEDY, request=Request(Priority.FRAME))


def frame_comes(engine: Engine, pool: ThreadPoolExecutor, frames: list[Future[None]]) -> None:
    frames.append(pool.submit(frame, engine))
    until(lambda: engine.pool._queue.has_before(Priority.GUEST))


def test_a_guest_gives_way_to_a_frame_and_begins_again(
    station: Station, engine: Engine, ended: list[Spent], monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = ask(engine, HELLO, max_tokens=LONG, sampling=GREEDY).text
    frames: list[Future[None]] = []
    with ThreadPoolExecutor(1) as pool:
        at_first_piece(monkeypatch, lambda _: frame_comes(engine, pool, frames))
        assert asked(station) == alone
        frames[0].result(LIMIT_S)
    assert len(ended) == 2
    assert ended[0].counts.generated < LONG // 2


def test_a_guest_whose_text_was_read_says_that_it_gave_way(
    station: Station, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames: list[Future[None]] = []
    with ThreadPoolExecutor(1) as pool:
        at_first_piece(monkeypatch, lambda _: frame_comes(engine, pool, frames))
        with pytest.raises(openai.APIError, match="a frame or a command needed the memory") as refused:
            asked(station, stream=True)
        frames[0].result(LIMIT_S)
    assert refused.value.code == "gave_way"


def test_who_finds_the_line_full_is_told_when_to_come_again(
    station: Station, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside: list[None] = []
    enter = Line.enter
    monkeypatch.setattr(Line, "enter", lambda line: inside.append(enter(line)))
    with ThreadPoolExecutor(WAITING + 1) as pool, engine.scheduler.turn(Request()):
        guests = [pool.submit(asked, station) for _ in range(WAITING + 1)]
        until(lambda: len(inside) == WAITING + 1)
        with pytest.raises(openai.RateLimitError) as refused:
            asked(station)
        assert refused.value.response.headers["Retry-After"] == "5"
        assert station.client().models.list().data
    assert len({guest.result(LIMIT_S) for guest in guests}) == 1
    assert asked(station)


def test_an_answer_that_comes_too_late_is_given_up(engine: Engine, tmp_path: Path) -> None:
    with served(one_model(engine), tmp_path, timeout_s=0.1) as station, engine.scheduler.turn(Request()):
        with pytest.raises(openai.InternalServerError) as refused:
            asked(station)
        assert (refused.value.status_code, refused.value.code) == (503, "deadline")
        assert refused.value.response.headers["Retry-After"] == "5"


def test_a_station_that_stops_ends_what_is_under_way(engine: Engine, tmp_path: Path) -> None:
    with ThreadPoolExecutor(1) as pool, engine.scheduler.turn(Request()):
        with served(one_model(engine), tmp_path) as station:
            guest = pool.submit(asked, station)
            until(lambda: engine.scheduler.waiting)
        with pytest.raises((openai.InternalServerError, openai.APIConnectionError)):
            guest.result(LIMIT_S)
        assert engine.scheduler.waiting == 0
