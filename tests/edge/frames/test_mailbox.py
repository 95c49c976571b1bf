"""Which waiting frame comes next, and which one gives way."""

from __future__ import annotations

import threading

from lineside.devices.cameras.frame import Frame
from lineside.edge.frames.mailbox import Mailbox, Work
from tests.support.wait import LIMIT_S


def test_the_newest_streamed_frame_wins_and_triggered_ones_take_turns_with_it() -> None:
    box = Mailbox()
    done: list[str] = []

    def work(name: str) -> Work:
        return Work(Frame("cam", name=name), lambda: done.append(name))

    assert box.put_latest(work("older")) is None
    assert box.put_latest(work("old")) is None, "kept in case the newer one cannot be decoded"
    given_up = box.put_latest(work("new"))
    assert given_up is not None
    assert given_up.frame.name == "older"
    assert done == []
    box.put_triggered(work("t1"))
    box.put_triggered(work("t2"))
    taken = [item.frame.name for item in (box.get(), box.get(), box.get()) if item is not None]
    assert taken == ["new", "t1", "t2"]


def test_no_camera_starves_another() -> None:
    """One sends forty frames that must be answered, two others a stream: each stream has its turn after one of them."""
    box = Mailbox()
    for number in range(40):
        box.put_triggered(Work(Frame("trigger", name=str(number))))
    seen = []
    for _ in range(12):
        for camera in ("left", "right"):
            box.put_latest(Work(Frame(camera)))
        work = box.get()
        assert work is not None
        seen.append(work.frame.camera)
    assert seen == ["trigger", "left", "right"] * 4


def test_a_bad_frame_does_not_push_a_good_one_out() -> None:
    box = Mailbox()
    for name in ("good", "bad"):
        box.put_latest(Work(Frame("cam", name=name)))
    newest = box.get()
    assert newest is not None
    assert newest.before is not None
    assert newest.before.frame.name == "good"


def test_closing_the_mailbox_ends_the_wait() -> None:
    box = Mailbox()
    taken: list[Work | None] = []
    waiting = threading.Thread(target=lambda: taken.append(box.get()))
    waiting.start()
    box.close()
    waiting.join(LIMIT_S)
    assert taken == [None]
