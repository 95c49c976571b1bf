from __future__ import annotations

import struct
import threading
import time
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from lineside.devices.cameras.camera import CameraSettings, open_camera
from lineside.devices.cameras.folder import FolderCamera
from lineside.devices.cameras.live import LiveCamera
from lineside.devices.cameras.video_file import VideoFile
from lineside.devices.errors import CameraError
from tests.conftest import VIDEO
from tests.support.mjpeg import number_in, numbered


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
    camera = VideoFile("line", VIDEO, 4.0, False)
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
    for number, _frame in enumerate(VideoFile("line", VIDEO, 0.1, True).frames(stop), start=1):
        if number == 6:
            stop.set()
    assert time.monotonic() - started >= 0.45


def test_video_that_cannot_be_opened(tmp_path: Path) -> None:
    fake = tmp_path / "line.mp4"
    fake.write_text("not a video")
    with pytest.raises(CameraError, match=r"line\.mp4 cannot be opened"):
        list(VideoFile("line", fake, 0.0, False).frames(threading.Event()))


def test_sources_are_taken_from_the_stations_folder(tmp_path: Path, pictures: list[Path]) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jpg").write_bytes(pictures[0].read_bytes())
    camera = open_camera(CameraSettings("cam", "folder", "in"), tmp_path)
    assert camera is not None
    assert len(list(camera.frames(threading.Event()))) == 1
    assert open_camera(CameraSettings("cam", "mqtt"), tmp_path) is None


@pytest.mark.parametrize("source", ["rtsp://192.0.2.10/stream", "http://192.0.2.10/mjpeg", "0", "/dev/null"])
def test_an_address_and_a_device_are_live_and_not_opened_before_they_are_played(source: str, tmp_path: Path) -> None:
    assert isinstance(open_camera(CameraSettings("cam", "video", source), tmp_path), LiveCamera)


def browser_video(path: Path, seconds: int) -> Path:
    """As a browser's recorder writes it: no duration of a frame, a clock of 1 ms. It shows the tenth of a second."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libvpx", rate=1000)
        stream.width, stream.height = 128, 128
        stream.codec_context.time_base = stream.time_base = Fraction(1, 1000)
        for number in range(seconds * 10):
            pixels = cv2.imdecode(np.frombuffer(numbered(number), np.uint8), cv2.IMREAD_COLOR)
            frame = av.VideoFrame.from_ndarray(np.asarray(pixels), format="bgr24")
            frame.pts, frame.time_base = number * 100 + number % 3, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def test_a_browsers_video_plays_in_its_own_time(tmp_path: Path) -> None:
    path = browser_video(tmp_path / "browser.webm", 10)
    assert cv2.VideoCapture(str(path)).get(cv2.CAP_PROP_FPS) == 1000, "what the file says of itself"
    frames = list(VideoFile("cam", path, 2.0, False).frames(Impatient()))
    shown = [number_in(frame.pixels) for frame in frames if frame.pixels is not None]
    assert shown == [0, 20, 40, 60, 80]
    due: list[float] = []
    started = time.monotonic()

    class Patient(Impatient):
        def wait(self, timeout: float | None = None) -> bool:
            due.append(time.monotonic() - started + (timeout or 0.0))
            return super().wait(timeout)

    assert len(list(VideoFile("cam", path, 0.0, False).frames(Patient()))) == 100
    assert 9.5 < due[-1] < 10.5, "the last frame is due when ten seconds are over"


@pytest.mark.parametrize("turn", [90, 180, 270])
def test_a_phones_video_is_upright(turn: int, tmp_path: Path) -> None:
    """The matrix of an MP4's track says how the phone was held; OpenCV shows such a video upright too."""
    path = tmp_path / "phone.mp4"
    cosine, sine = {90: (0, 1), 180: (-1, 0), 270: (0, -1)}[turn]
    plain = struct.pack(">9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
    turned = struct.pack(">9i", cosine << 16, sine << 16, 0, -sine << 16, cosine << 16, 0, 0, 0, 1 << 30)
    head, track, rest = VIDEO.read_bytes().partition(b"tkhd")
    assert plain in rest[:100]
    path.write_bytes(head + track + rest.replace(plain, turned, 1))
    frames = VideoFile("cam", path, 0.0, False).frames(Impatient())
    pixels = next(frames).pixels
    good, expected = cv2.VideoCapture(str(path)).read()
    assert good
    assert pixels is not None
    assert np.array_equal(pixels, expected[:, :, ::-1])
