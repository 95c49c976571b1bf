from __future__ import annotations

import threading
import time
from functools import partial
from pathlib import Path

import pytest

from lineside.runtime.assistant import ask
from lineside.runtime.chat import Message
from lineside.runtime.engine.engine import Engine
from lineside.runtime.engine.sampling import Sampling
from lineside.runtime.engine.scheduler import Priority, Request, Scheduler
from lineside.runtime.errors import DeadlineExceeded, RequestCancelled
from tests.support.wait import LIMIT_S, until


def queued(scheduler: Scheduler, count: int) -> bool:
    return scheduler.waiting == count


def run_waiting(scheduler: Scheduler, requests: dict[str, Request]) -> list[str]:
    """Let requests queue up behind a busy engine, in order; returns the order in which they got their turns."""
    served: list[str] = []

    def take(name: str, request: Request) -> None:
        with scheduler.turn(request):
            served.append(name)

    threads = [threading.Thread(target=take, args=item) for item in requests.items()]
    with scheduler.turn(Request()):
        for number, thread in enumerate(threads, start=1):
            thread.start()
            until(partial(queued, scheduler, number))
    for thread in threads:
        thread.join(LIMIT_S)
    return served


def test_commands_before_frames_before_guests_then_by_deadline_then_in_order() -> None:
    now = time.monotonic()
    served = run_waiting(
        Scheduler(),
        {
            "urgent guest": Request(Priority.GUEST, now + 60),
            "frame": Request(Priority.FRAME),
            "urgent frame": Request(Priority.FRAME, now + 60),
            "command": Request(Priority.COMMAND),
            "second command": Request(Priority.COMMAND),
            "urgent command": Request(Priority.COMMAND, now + 60),
        },
    )
    assert served == ["urgent command", "command", "second command", "urgent frame", "frame", "urgent guest"]


def test_who_is_late_or_cancelled_leaves_the_queue() -> None:
    scheduler = Scheduler()
    cancelled = threading.Event()
    with scheduler.turn(Request()):
        deadline = time.monotonic() + 0.15
        with pytest.raises(DeadlineExceeded), scheduler.turn(Request(deadline=deadline)):
            pass
        assert time.monotonic() >= deadline
        others: list[str] = []

        def take() -> None:
            try:
                with scheduler.turn(Request(cancelled=cancelled.is_set)):
                    others.append("had a turn")
            except RequestCancelled:
                others.append("cancelled")

        waiting = threading.Thread(target=take)
        waiting.start()
        until(lambda: scheduler.waiting == 1)
        cancelled.set()
        waiting.join(LIMIT_S)
        assert (others, scheduler.waiting) == (["cancelled"], 0)
    with scheduler.turn(Request()):  # nobody is left in front
        pass


def test_a_command_does_not_wait_for_the_frames_before_it(float_bundle: Path) -> None:
    """Long answers for frames are under way, each some tokens on, and none ends before the command is answered."""
    engine = Engine.open(float_bundle, threads=1)
    under_way, answered = threading.Barrier(3), threading.Event()
    finished: list[int] = []

    def frame(number: int) -> None:
        prompt = engine.tokenizer.encode_chat([Message("user", (f"Frame {number}",))])
        with engine.sequence(prompt, reserve=400, request=Request(Priority.FRAME)) as sequence:
            decoding = engine.decode(sequence, max_tokens=400, sampling=Sampling(9.0, number))
            for length, _ in enumerate(decoding, start=1):
                if length == 5:
                    under_way.wait(LIMIT_S)
                if length == 350:
                    assert answered.wait(LIMIT_S)
            finished.append(length)

    threads = [threading.Thread(target=frame, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    under_way.wait(LIMIT_S)
    ask(engine, [Message("user", ("Stop!",))], max_tokens=8, request=Request(Priority.COMMAND))
    assert finished == []
    answered.set()
    for thread in threads:
        thread.join(LIMIT_S)
    assert finished == [400, 400]


def test_answers_do_not_depend_on_who_else_is_answered(float_bundle: Path) -> None:
    """Eight requests at once, their passes interleaved, each as if it were alone."""
    engine = Engine.open(float_bundle, threads=1)
    messages = [[Message("user", (f"Order number {i}: what next?",))] for i in range(8)]
    alone = [ask(engine, m, max_tokens=24, sampling=Sampling(1.0, i)).text for i, m in enumerate(messages)]
    together: dict[int, str] = {}

    def one(i: int) -> None:
        priority = Priority.FRAME if i % 2 else Priority.COMMAND
        together[i] = ask(engine, messages[i], max_tokens=24, sampling=Sampling(1.0, i), request=Request(priority)).text

    threads = [threading.Thread(target=one, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT_S)
    assert [together[i] for i in range(8)] == alone
