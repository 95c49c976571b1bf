"""The newest frame of a camera: how old it may be, and one that comes later."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator

import numpy as np
import pytest

from lineside.devices.cameras.frame import Frame
from lineside.devices.cameras.live import LiveCamera
from lineside.devices.cameras.shot import PixelShot, Shot
from lineside.edge.errors import RequestError
from lineside.edge.frames.newest import NewestFrames
from tests.support.wait import LIMIT_S, until


def pushed() -> NewestFrames:
    return NewestFrames(lambda _camera: None)


def test_the_last_frame_that_came_is_the_newest() -> None:
    newest = pushed()
    for number in range(2):
        newest.put(Frame("door", data=b"x", name=str(number)))
        newest.put(Frame("yard", data=b"y"))
    assert newest.latest("door", LIMIT_S).name == "1"


def test_a_frame_that_is_too_old_is_refused_by_name() -> None:
    newest = pushed()
    with pytest.raises(RequestError, match="door: no frame yet"):
        newest.latest("door", LIMIT_S)
    newest.put(Frame("door", data=b"x", received=time.monotonic() - 5))
    with pytest.raises(RequestError, match=r"door: its last frame is 5\.\d s old") as refused:
        newest.latest("door", 4.0)
    assert refused.value.code == "camera_silent"


def test_a_frame_from_before_the_moment_does_not_count() -> None:
    newest = pushed()
    newest.put(Frame("door", data=b"x", name="before"))
    moment = time.monotonic()
    with pytest.raises(RequestError, match="no frame within 0 s"):
        newest.after("door", moment, 0.0)
    threading.Timer(0.05, lambda: newest.put(Frame("door", data=b"x", name="behind"))).start()
    assert newest.after("door", moment, LIMIT_S).name == "behind"


def test_a_live_camera_is_asked_itself() -> None:
    """However seldom it is sampled: its reader has a newer frame."""
    more = threading.Semaphore(1)

    def read() -> Generator[Shot, None, None]:
        for number in range(9):
            more.acquire()
            yield PixelShot(np.full((8, 8, 3), number, np.uint8), time.monotonic())

    camera = LiveCamera("door", read, interval_s=3600.0)
    newest, stop = NewestFrames(lambda _camera: camera), threading.Event()
    frames = camera.frames(stop)
    try:
        assert next(frames).pixels is not None
        moment = time.monotonic()
        with pytest.raises(RequestError, match="no frame within 0 ms"):
            newest.after("door", moment, 0.0)
        more.release()
        later = newest.after("door", moment, LIMIT_S)
        assert later.pixels is not None
        assert later.pixels.max() == 1
        assert newest.latest("door", LIMIT_S).received == later.received
        more.release()
        until(lambda: newest.latest("door", LIMIT_S).received > later.received)
    finally:
        stop.set()
        for _ in range(9):
            more.release()
        frames.close()  # type: ignore[attr-defined]
