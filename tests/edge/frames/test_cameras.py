"""What is live loses frames that nobody had time for; a folder is a queue of which each picture is dealt with."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import pytest

from lineside.devices.cameras.camera import Camera
from lineside.devices.cameras.folder import FolderCamera
from lineside.devices.cameras.frame import Frame
from lineside.devices.errors import CameraError
from lineside.edge.frames.camera_watch import CameraWatch
from lineside.edge.frames.cameras import CameraThread
from lineside.edge.frames.pipeline import Pipeline

PATIENCE_S = 60.0


class SlowPipeline:
    """Takes frames, and deals with one when the test says so."""

    def __init__(self) -> None:
        self.waiting: queue.Queue[tuple[Frame, Callable[[], None]]] = queue.Queue()

    def offer(self, frame: Frame, *, triggered: bool, done: Callable[[], None], ages: bool) -> None:
        assert not triggered
        assert ages == (frame.name in ("0", "1", "2")), "a queue has time"
        self.waiting.put((frame, done))


class Stream:
    """A live camera of three frames."""

    live = True

    def frames(self, _stop: threading.Event) -> Iterator[Frame]:
        for number in range(3):
            yield Frame("cam", data=b"x", name=str(number))


@pytest.fixture
def pipeline() -> SlowPipeline:
    return SlowPipeline()


class Watch:
    """Notes what a camera thread reports."""

    def __init__(self) -> None:
        self.reported: queue.Queue[str] = queue.Queue()

    def ended(self, camera: str) -> None:
        self.reported.put(f"{camera} ended")

    def failed(self, camera: str, error: CameraError) -> None:
        self.reported.put(f"{camera} failed: {error}")


@pytest.fixture
def watch() -> Watch:
    return Watch()


def play(camera: Camera, pipeline: SlowPipeline, watch: Watch) -> CameraThread:
    online = threading.Event()
    online.set()
    thread = CameraThread("cam", camera, cast(Pipeline, pipeline), cast(CameraWatch, watch), online)
    thread.start()
    return thread


def folder(path: Path, count: int) -> FolderCamera:
    for number in range(count):
        (path / f"{number}.jpg").write_bytes(b"x")
    return FolderCamera("cam", path, 0.0, False)


def test_each_picture_of_a_folder_is_dealt_with_before_the_next_is_read(
    tmp_path: Path, pipeline: SlowPipeline, watch: Watch
) -> None:
    thread = play(folder(tmp_path, 5), pipeline, watch)
    for number in range(5):
        frame, done = pipeline.waiting.get(timeout=PATIENCE_S)
        assert frame.name == f"{number}.jpg"
        with pytest.raises(queue.Empty):  # the next is read when this one has been dealt with
            pipeline.waiting.get(timeout=0.1)
        assert watch.reported.empty()
        done()
    assert watch.reported.get(timeout=PATIENCE_S) == "cam ended"
    thread.close()


def test_a_live_camera_does_not_wait_but_ends_behind_its_last_frame(pipeline: SlowPipeline, watch: Watch) -> None:
    thread = play(Stream(), pipeline, watch)
    taken = [pipeline.waiting.get(timeout=PATIENCE_S) for _ in range(3)]
    with pytest.raises(queue.Empty):  # none has been dealt with
        watch.reported.get(timeout=0.1)
    for _, done in taken:
        done()
    assert watch.reported.get(timeout=PATIENCE_S) == "cam ended"
    thread.close()


def test_closing_ends_the_wait_for_a_frame(tmp_path: Path, pipeline: SlowPipeline, watch: Watch) -> None:
    thread = play(folder(tmp_path, 2), pipeline, watch)
    pipeline.waiting.get(timeout=PATIENCE_S)
    thread.close()
    assert not thread.is_alive()
    assert watch.reported.empty(), "it was stopped, and did not end"


def test_a_camera_that_fails_is_reported(tmp_path: Path, pipeline: SlowPipeline, watch: Watch) -> None:
    thread = play(FolderCamera("cam", tmp_path / "missing", 0.0, False), pipeline, watch)
    assert "is not a folder" in watch.reported.get(timeout=PATIENCE_S)
    thread.close()
