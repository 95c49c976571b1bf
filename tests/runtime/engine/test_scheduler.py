from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from lineside.runtime.assistant import ask
from lineside.runtime.chat import Message
from lineside.runtime.engine.engine import Engine
from lineside.runtime.engine.sampling import Sampling
from lineside.runtime.engine.scheduler import Priority, Request, Scheduler
from lineside.runtime.errors import DeadlineExceeded, RequestCancelled


def run_waiting(scheduler: Scheduler, requests: dict[str, Request]) -> list[str]:
    """Let requests queue up behind a busy engine, in order; returns the order in which they got their turns."""
    served: list[str] = []

    def take(name: str, request: Request) -> None:
        with scheduler.turn(request):
            served.append(name)

    threads = [threading.Thread(target=take, args=item) for item in requests.items()]
    with scheduler.turn(Request()):
        for thread in threads:
            thread.start()
            time.sleep(0.03)
    for thread in threads:
        thread.join(timeout=5)
    return served


def test_commands_before_frames_then_by_deadline_then_in_order() -> None:
    now = time.monotonic()
    served = run_waiting(
        Scheduler(),
        {
            "frame": Request(Priority.FRAME),
            "urgent frame": Request(Priority.FRAME, now + 60),
            "command": Request(Priority.COMMAND),
            "second command": Request(Priority.COMMAND),
            "urgent command": Request(Priority.COMMAND, now + 60),
        },
    )
    assert served == ["urgent command", "command", "second command", "urgent frame", "frame"]


def test_who_is_late_or_cancelled_leaves_the_queue() -> None:
    scheduler = Scheduler()
    cancelled = threading.Event()
    with scheduler.turn(Request()):
        started = time.monotonic()
        with pytest.raises(DeadlineExceeded), scheduler.turn(Request(deadline=started + 0.15)):
            pass
        assert 0.1 < time.monotonic() - started < 1
        threading.Timer(0.1, cancelled.set).start()
        with pytest.raises(RequestCancelled), scheduler.turn(Request(cancelled=cancelled.is_set)):
            pass
    with scheduler.turn(Request()):  # nobody is left in front
        pass


def test_a_command_does_not_wait_for_the_frames_before_it(float_bundle: Path) -> None:
    """Long answers for frames are under way when the command comes: it is done first, and they are done as well."""
    engine = Engine.open(float_bundle, threads=1)
    finished: list[str] = []
    under_way = threading.Barrier(3)

    def frame(number: int) -> None:
        prompt = engine.tokenizer.encode_chat([Message("user", (f"Frame {number}",))])
        with engine.sequence(prompt, reserve=400, request=Request(Priority.FRAME)) as sequence:
            under_way.wait()
            for _ in engine.decode(sequence, max_tokens=400, sampling=Sampling(9.0, number)):
                time.sleep(0.002)
        finished.append("frame")

    threads = [threading.Thread(target=frame, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    under_way.wait()
    time.sleep(0.1)
    ask(engine, [Message("user", ("Stop!",))], max_tokens=8, request=Request(Priority.COMMAND))
    finished.append("command")
    for thread in threads:
        thread.join(timeout=60)
    assert finished == ["command", "frame", "frame"]


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
        thread.join(timeout=60)
    assert [together[i] for i in range(8)] == alone
