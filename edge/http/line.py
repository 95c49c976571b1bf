"""Answers one after the other: a guest of the engine at a time, and a few that wait.

A guest's passes come after those of frames and commands, and it gives its KV cache up as soon as one of these waits
for it. Then it begins again, unless its client has read some of the answer.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from lineside.edge.errors import EdgeError
from lineside.edge.http.conversation import Asked
from lineside.edge.http.errors import RETRY_AFTER_S, HttpError
from lineside.runtime.assistant import Answer, stream
from lineside.runtime.engine.engine import Engine
from lineside.runtime.engine.scheduler import Priority, Request
from lineside.runtime.errors import EngineError, RequestCancelled
from lineside.runtime.text.call_stream import TextDelta

log = logging.getLogger("lineside.http")
WAITING = 4
"""Requests that may wait for the one under way; each holds its body in memory."""


class Ticket:
    """A request in the line. Its answer is written on the line's thread and read on the server's loop.

    Args:
        piecewise: whether `next` gives the text piece by piece.

    Attributes:
        answer: the whole answer, or what went wrong.
        gone: set where nobody waits for the answer any more.
        watching: the task that sets it.
    """

    answer: asyncio.Future[Answer]
    watching: asyncio.Task[None]

    def __init__(self, deadline: float, stopping: threading.Event, *, piecewise: bool) -> None:
        self.gone = threading.Event()
        self._stopping, self._piecewise = stopping, piecewise
        self._loop = asyncio.get_running_loop()
        self._pieces: asyncio.Queue[str | None] = asyncio.Queue()
        self.request = Request(Priority.GUEST, deadline, self.cancelled)

    def cancelled(self) -> bool:
        return self.gone.is_set() or self._stopping.is_set()

    def say(self, text: str) -> bool:
        """On the line's thread; whether a client may have read it."""
        if self._piecewise:
            self._loop.call_soon_threadsafe(self._pieces.put_nowait, text)
        return self._piecewise

    def end(self) -> None:
        self._pieces.put_nowait(None)

    async def next(self) -> str | None:
        """The next piece of text; None at the end, or where something went wrong."""
        return await self._pieces.get()


class Line:
    """Used on the server's loop, except `close`."""

    def __init__(self) -> None:
        self._stopping = threading.Event()
        self._executor = ThreadPoolExecutor(1, "http-answers")
        self._inside = 0

    def enter(self) -> None:
        """Take a place; `leave` or `begin` must follow. Raises HttpError where there is none."""
        if self._stopping.is_set():
            raise HttpError(503, "stopping", "the station is stopping", retry_after_s=RETRY_AFTER_S)
        if self._inside > WAITING:
            told = f"{self._inside} requests are under way or wait: come again in {RETRY_AFTER_S} s"
            raise HttpError(429, "rate_limit_exceeded", told, retry_after_s=RETRY_AFTER_S)
        self._inside += 1

    def leave(self) -> None:
        self._inside -= 1

    def begin(self, work: Callable[[Ticket], Answer], timeout_s: float, *, piecewise: bool) -> Ticket:
        """Have `work` done on the line's thread when its turn comes. The place is left with its end."""
        ticket = Ticket(time.monotonic() + timeout_s, self._stopping, piecewise=piecewise)
        ticket.answer = asyncio.get_running_loop().run_in_executor(self._executor, work, ticket)
        ticket.answer.add_done_callback(lambda _: self._ended(ticket))
        return ticket

    def _ended(self, ticket: Ticket) -> None:
        self.leave()
        ticket.end()
        error = None if ticket.answer.cancelled() else ticket.answer.exception()
        if ticket.gone.is_set() and error is not None and not isinstance(error, EdgeError | EngineError):
            log.error("an answer failed whose client was gone", exc_info=error)

    def close(self) -> None:
        """Whatever is under way is cancelled."""
        self._stopping.set()
        self._executor.shutdown(wait=False)


def answer(engine: Engine, asked: Asked, ticket: Ticket, call_above: float) -> Answer:
    """The whole answer, its text said to the ticket as it comes.

    Raises:
        HttpError: the guest had to give way, and its client had read some of the answer.
        EngineError: see `runtime.errors`.
    """
    while True:
        said = False
        try:
            with stream(
                engine,
                asked.messages,
                asked.tools,
                tool_choice=asked.tool_choice,
                max_tokens=asked.max_tokens,
                sampling=asked.sampling,
                request=ticket.request,
                call_above=call_above,
                schema=asked.schema,
            ) as pieces:
                for piece in pieces:
                    if isinstance(piece, TextDelta):
                        said |= ticket.say(piece.text)
            if pieces.answer.finish_reason != "cancelled":
                return pieces.answer
        except RequestCancelled:
            if ticket.cancelled():
                raise
        if ticket.cancelled():
            raise RequestCancelled("the station is stopping")
        if said:
            told = "a frame or a command needed the memory that the answer took"
            raise HttpError(503, "gave_way", told, retry_after_s=RETRY_AFTER_S)
