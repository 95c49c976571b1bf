"""A folder as a queue: every picture is looked at, once, whole, and whatever else lies there."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lineside.devices.cameras import folder as plain
from lineside.devices.cameras.camera import CameraSettings, open_camera
from lineside.devices.cameras.frame import Frame
from lineside.devices.cameras.looked_at import LookedAt
from lineside.devices.cameras.watched_folder import WatchedFolder
from lineside.devices.errors import CameraError
from lineside.runtime.picture_kinds import SUFFIXES

STEPS = 12


class Steps(threading.Event):
    """Time goes on only while somebody waits; `act` is what happens meanwhile. After so many steps it is set."""

    def __init__(self, act: Callable[[int], None] = lambda _: None, steps: int = STEPS) -> None:
        super().__init__()
        self.now, self._act, self._step, self._steps = 100.0, act, 0, steps

    def wait(self, timeout: float | None = None) -> bool:
        if timeout:
            self.now += timeout
            self._act(self._step)
            self._step += 1
            if self._step == self._steps:
                self.set()
        return self.is_set()

    def clock(self) -> float:
        return self.now


def watch(folder: Path, memory: Path, steps: Steps) -> Iterator[tuple[WatchedFolder, Frame]]:
    camera = WatchedFolder("cam", folder, 0.0, memory, steps.clock)
    for frame in camera.frames(steps):
        yield camera, frame


def looked_at(
    folder: Path, memory: Path, act: Callable[[int], None] = lambda _: None, steps: int = STEPS
) -> list[Frame]:
    """Each frame is dealt with at once."""
    found = []
    for camera, frame in watch(folder, memory, Steps(act, steps)):
        camera.dealt_with(frame)
        found.append(frame)
    return found


@pytest.fixture
def queue(tmp_path: Path) -> Path:
    folder = tmp_path / "queue"
    folder.mkdir()
    return folder


@pytest.fixture
def memory(tmp_path: Path) -> Path:
    return tmp_path / "data" / "cam.looked-at.db"


def put(path: Path, content: bytes, at_s: float) -> None:
    path.write_bytes(content)
    os.utime(path, (at_s, at_s))


def test_the_oldest_first_then_what_comes_and_none_again_after_a_restart(queue: Path, memory: Path) -> None:
    put(queue / "b.jpg", b"first", 1000.0)
    put(queue / "a.PNG", b"second", 2000.0)

    def more(step: int) -> None:
        if step == 6:
            put(queue / "c.tiff", b"third", 3000.0)

    found = looked_at(queue, memory, more)
    assert [(frame.name, frame.data) for frame in found] == [
        ("b.jpg", b"first"), ("a.PNG", b"second"), ("c.tiff", b"third")
    ]  # fmt: skip
    assert [frame.captured_at.timestamp() for frame in found] == [1000.0, 2000.0, 3000.0]
    ages = [time.monotonic() - frame.received for frame in found]  # an output must not take the part for one of now
    assert ages == pytest.approx([time.time() - captured for captured in (1000.0, 2000.0, 3000.0)], abs=60)
    assert looked_at(queue, memory) == []
    put(queue / "b.jpg", b"another", 4000.0)
    assert [frame.data for frame in looked_at(queue, memory)] == [b"another"]


def test_what_was_not_dealt_with_comes_again_under_the_same_id(queue: Path, memory: Path) -> None:
    """So that whoever has its result already can tell."""
    put(queue / "a.jpg", b"x", 1000.0)
    (_, first) = next(watch(queue, memory, Steps()))
    (again,) = looked_at(queue, memory)
    assert again.id == first.id
    put(queue / "a.jpg", b"y", 1000.0)
    assert looked_at(queue, memory) == [], "nobody can tell: neither its size nor its time has changed"


def test_a_file_is_not_read_while_it_is_written(queue: Path, memory: Path) -> None:
    """Whoever writes in place is waited for; a temporary name counts for nothing, and an empty file for long."""

    def write(step: int) -> None:
        if step < 8:
            with (queue / "slow.jpg").open("ab") as file:
                file.write(b"%d" % step)
        if step == 3:
            (queue / ".whole.jpg.x7").write_bytes(b"whole")
            (queue / "empty.jpg").touch()
        if step == 5:
            (queue / ".whole.jpg.x7").rename(queue / "whole.jpg")

    found = looked_at(queue, memory, write)
    assert sorted((frame.name, frame.data) for frame in found) == [("slow.jpg", b"01234567"), ("whole.jpg", b"whole")]
    assert [frame.name for frame in looked_at(queue, memory, steps=70)] == ["empty.jpg"], "to be rejected"


def test_one_that_changes_while_it_is_read_waits(queue: Path, memory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(queue / "a.jpg", b"half", 1000.0)
    fstat = os.fstat

    def changed_meanwhile(number: int) -> os.stat_result:
        monkeypatch.setattr(os, "fstat", fstat)
        put(queue / "a.jpg", b"half and half", 2000.0)
        return fstat(number)

    monkeypatch.setattr("lineside.devices.cameras.watched_folder.os.fstat", changed_meanwhile)
    assert [frame.data for frame in looked_at(queue, memory)] == [b"half and half"]


def test_a_file_that_cannot_be_read_is_said_once_and_the_others_are_looked_at(queue: Path, memory: Path) -> None:
    (queue / "loop.jpg").symlink_to("loop.jpg")
    (queue / "folder.jpg").mkdir()
    put(queue / "good.jpg", b"x", 1000.0)
    put(queue / "phone.heic", b"y", 1001.0)
    (queue / "notes.txt").write_text("no picture")
    found = looked_at(queue, memory)
    assert [frame.name for frame in found] == ["loop.jpg", "good.jpg", "phone.heic"]
    assert "cannot be read (Too many levels" in found[0].problem


def test_an_unreadable_file_has_a_reason(queue: Path, memory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(queue / "a.jpg", b"x", 1000.0)

    def refused(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as refusing:
        refusing.setattr(Path, "open", refused)
        (frame,) = looked_at(queue, memory)
    assert frame.problem == f"{queue / 'a.jpg'} cannot be read (Permission denied)"
    assert [frame.data for frame in looked_at(queue, memory)] == [b"x"], "at the next start"
    monkeypatch.setattr(Path, "read_bytes", refused)
    (frame,) = plain.FolderCamera("cam", queue, 0.0, False).frames(threading.Event())
    assert "Permission denied" in frame.problem


def test_a_share_that_goes_is_a_problem_until_it_is_back(queue: Path, memory: Path) -> None:
    """And what was looked at on it is not forgotten meanwhile, though the folder is empty."""
    put(queue / "a.jpg", b"x", 1000.0)
    away = queue.with_name("away")
    problems: list[str] = []
    steps = Steps()

    def come_and_go(step: int) -> None:
        problem = camera.health().problem
        problems.append(str(problem.code if problem else ""))
        if step == 4:
            queue.rename(away)
        if step == 7:
            away.rename(queue)

    steps._act = come_and_go
    camera = WatchedFolder("cam", queue, 0.0, memory, steps.clock)
    found = []
    for frame in camera.frames(steps):
        camera.dealt_with(frame)
        found.append(frame.name)
    assert found == ["a.jpg"]
    assert problems.count("camera_not_found") == 3
    assert problems[-1] == ""
    (queue / "a.jpg").rename(queue.with_name("a.jpg"))
    assert looked_at(queue, memory) == []
    queue.with_name("a.jpg").rename(queue / "a.jpg")
    assert looked_at(queue, memory) == []


def test_what_has_gone_from_a_folder_in_use_is_forgotten(queue: Path, memory: Path) -> None:
    for name in ("a.jpg", "b.jpg"):
        put(queue / name, b"x", 1000.0)
    looked_at(queue, memory)
    (queue / "a.jpg").unlink()
    looked_at(queue, memory)
    known = LookedAt(memory, queue)
    assert (known.has("a.jpg", (1, 10**12)), known.has("b.jpg", (1, 10**12))) == (False, True)


def test_a_damaged_memory_is_named(queue: Path, memory: Path) -> None:
    memory.parent.mkdir()
    memory.write_bytes(b"no database" * 100)
    with pytest.raises(CameraError, match=r"cam.looked-at.db, which says what was looked at, cannot be used"):
        looked_at(queue, memory)


def test_settings_open_it_and_its_endings_are_those_that_are_read(tmp_path: Path) -> None:
    settings = CameraSettings("cam", "folder", "in", memory=tmp_path / "m.db")
    assert isinstance(open_camera(settings, tmp_path), WatchedFolder)
    assert plain.SUFFIXES == SUFFIXES
