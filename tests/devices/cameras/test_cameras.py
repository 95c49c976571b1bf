from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np
import pytest

from lineside.devices.cameras.camera import CameraSettings, open_camera
from lineside.devices.cameras.folder import FolderCamera
from lineside.devices.cameras.video import VideoCamera
from lineside.devices.errors import CameraError
from tests.conftest import VIDEO


class Impatient(threading.Event):
    """Does not wait, so that a film of forty seconds is over at once."""

    def wait(self, timeout: float | None = None) -> bool:
        del timeout
        return self.is_set()


def test_folder_plays_in_the_order_of_names(pictures: list[Path]) -> None:
    frames = list(FolderCamera("cam", pictures[0].parent, 0.0, False).frames(threading.Event()))
    assert [frame.name for frame in frames] == [path.name for path in pictures]
    assert frames[3].data == pictures[3].read_bytes()
    assert all(frame.camera == "cam" and frame.captured_at.tzinfo is not None for frame in frames)


def test_folder_loops_until_stopped(pictures: list[Path]) -> None:
    stop = threading.Event()
    names: list[str] = []
    for frame in FolderCamera("cam", pictures[0].parent, 0.0, True).frames(stop):
        names.append(frame.name)
        if len(names) == 2 * len(pictures) + 1:
            stop.set()
    assert names[: len(pictures)] == names[len(pictures) : 2 * len(pictures)]
    assert len(names) == 2 * len(pictures) + 1


@pytest.mark.parametrize("kind", ["missing", "empty"])
def test_folder_without_pictures_says_so(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / kind
    if kind == "empty":
        folder.mkdir()
        (folder / "notes.txt").write_text("no picture")
    with pytest.raises(CameraError, match=str(folder)):
        list(FolderCamera("cam", folder, 0.0, False).frames(threading.Event()))


def test_a_file_named_jpg_is_handed_on_for_the_pipeline_to_judge(tmp_path: Path) -> None:
    (tmp_path / "part.JPG").write_text("not a picture")
    (frame,) = FolderCamera("cam", tmp_path, 0.0, False).frames(threading.Event())
    assert frame.data == b"not a picture"


def test_real_video_plays_to_its_end() -> None:
    """1,189 frames at 29.8 a second, one in every 4 s: eleven pictures, in colour, and the file is let go."""
    camera = VideoCamera("line", str(VIDEO), 4.0, False)
    frames = list(camera.frames(Impatient()))
    assert 9 <= len(frames) <= 12
    first = frames[0].pixels
    assert first is not None
    assert first.shape == (360, 640, 3)
    assert first.dtype == np.uint8
    others = [frame.pixels for frame in frames[1:] if frame.pixels is not None]
    assert any(not np.array_equal(first, other) for other in others)


def test_video_is_paced_in_real_time() -> None:
    stop = threading.Event()
    started = time.monotonic()
    for number, _frame in enumerate(VideoCamera("line", str(VIDEO), 0.1, True).frames(stop), start=1):
        if number == 6:
            stop.set()
    assert time.monotonic() - started >= 0.45


def test_video_that_cannot_be_opened(tmp_path: Path) -> None:
    fake = tmp_path / "line.mp4"
    fake.write_text("not a video")
    with pytest.raises(CameraError, match=r"line\.mp4 cannot be opened"):
        list(VideoCamera("line", str(fake), 0.0, False).frames(threading.Event()))


def test_sources_are_taken_from_the_stations_folder(tmp_path: Path, pictures: list[Path]) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jpg").write_bytes(pictures[0].read_bytes())
    camera = open_camera(CameraSettings("cam", "folder", "in"), tmp_path)
    assert camera is not None
    assert len(list(camera.frames(threading.Event()))) == 1
    assert open_camera(CameraSettings("cam", "mqtt"), tmp_path) is None
