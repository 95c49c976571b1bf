"""A live camera gives its newest frame with its true time; a dead, frozen or black one gives none, and says why."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from lineside.devices.cameras.camera import CameraSettings, open_camera
from lineside.devices.cameras.frame import Frame
from lineside.devices.cameras.live import LiveCamera
from lineside.devices.cameras.shot import Pixels, Shot
from lineside.devices.cameras.stream import read_stream, shown
from lineside.devices.errors import CameraError
from tests.support.mjpeg import MjpegCamera, number_in, numbered
from tests.support.wait import until


@pytest.fixture
def camera() -> Iterator[MjpegCamera]:
    opened = MjpegCamera()
    yield opened
    opened.close()


def live(camera: MjpegCamera, interval_s: float = 0.0) -> LiveCamera:
    opened = open_camera(CameraSettings("cam", "video", camera.address, interval_s), Path())
    assert isinstance(opened, LiveCamera)
    return opened


def number(frame: Frame) -> int:
    assert frame.pixels is not None
    return number_in(frame.pixels)


def newest(camera: LiveCamera) -> Callable[[], int]:
    def shown_now() -> int:
        try:
            return number(camera.read_latest(60_000))
        except CameraError:
            return 0

    return shown_now


@pytest.mark.parametrize("interval_s", [0.0, 0.05])
def test_what_nobody_took_in_time_is_never_taken(camera: MjpegCamera, interval_s: float) -> None:
    """A reader that buffers would give the second of a hundred next, and say that it is new."""
    watched = live(camera, interval_s)
    with closing(watched.frames(threading.Event())) as frames:  # type: ignore[type-var]
        threading.Thread(target=camera.send, args=(numbered(1),)).start()
        assert number(next(frames)) == 1
        camera.send(*(numbered(count) for count in range(2, 101)))
        until(lambda: newest(watched)() == 100)
        after = time.monotonic(), datetime.now(UTC)
        frame = next(frames)
        assert (number(frame), frame.name) == (100, "000100")
        assert frame.received <= after[0]
        assert abs((frame.captured_at - after[1]).total_seconds() - (frame.received - after[0])) < 0.05


def test_a_frame_is_as_old_as_it_is_when_it_is_taken_late(camera: MjpegCamera) -> None:
    watched = live(camera, 3600.0)
    with closing(watched.frames(threading.Event())) as frames:  # type: ignore[type-var]
        threading.Thread(target=camera.send, args=(numbered(1),)).start()
        arrived = next(frames).received
        time.sleep(0.2)
        frame = watched.read_latest(10_000)
        assert frame.received == arrived
        assert (datetime.now(UTC) - frame.captured_at).total_seconds() >= 0.2
        with pytest.raises(CameraError, match="no frame of the last 100 ms"):
            watched.read_latest(100)


def test_the_same_bytes_again_are_no_new_frame(camera: MjpegCamera) -> None:
    """Also over a reconnect, as from a camera that gives one picture a connection."""
    watched = live(camera)
    with closing(watched.frames(threading.Event())) as frames:  # type: ignore[type-var]
        threading.Thread(target=camera.send, args=(numbered(1),)).start()
        assert number(next(frames)) == 1
        camera.send(*[numbered(1)] * 5)
        camera.hang_up()
        camera.wait_asked(2)
        camera.send(*[numbered(1)] * 5, numbered(2))
        frame = next(frames)
        assert (number(frame), frame.name) == (2, "000002")


@pytest.mark.parametrize(
    ("status", "code", "said"),
    [(401, "camera_login", "401: user or password"), (403, "camera_login", "403"), (404, "camera_not_found", "404")],
)
def test_a_refusal_is_named_without_the_password(camera: MjpegCamera, status: int, code: str, said: str) -> None:
    camera.refuses = status
    address = camera.address.replace("//", "//operator:secret@") + "?key=secret"
    with pytest.raises(CameraError, match=said) as caught:
        next(read_stream(address, 10.0))
    assert caught.value.code == code
    assert "secret" not in str(caught.value)
    assert f"http://127.0.0.1:{camera.port}:" in str(caught.value)


def test_a_login_in_the_address_is_used(camera: MjpegCamera) -> None:
    camera.login = "operator:secret"
    with pytest.raises(CameraError) as caught:
        next(read_stream(camera.address, 30.0))
    assert caught.value.code == "camera_login"
    sending = threading.Thread(target=camera.send, args=(*map(numbered, range(4)),))
    sending.start()
    with closing(read_stream(camera.address.replace("//", "//operator:secret@"), 30.0)) as shots:
        assert number_in(next(shots).rgb()) == 0
    sending.join()


@pytest.mark.parametrize(
    ("address", "code", "said"),
    [
        ("http://127.0.0.1:{port}/", "camera_refused", "connection is refused"),
        ("rtsp://127.0.0.1:{port}/", "camera_refused", "connection is refused"),
        ("http://camera.invalid/", "camera_unreachable", "name 'camera.invalid' is not found"),
    ],
)
def test_an_address_that_nobody_answers_at(camera: MjpegCamera, address: str, code: str, said: str) -> None:
    camera.close()
    with pytest.raises(CameraError, match=said) as caught:
        next(read_stream(address.format(port=camera.port), 10.0))
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("rtsp://me:p@ss/w@cam:554/stream?user=a@b&password=x", "rtsp://cam:554"),
        ("rtsp://cam/user=me_password=x_channel=1.sdp", "rtsp://cam"),
        ("line.mp4", "line.mp4"),
    ],
)
def test_no_secret_is_shown(source: str, expected: str) -> None:
    assert shown(source) == expected


def test_a_stream_that_sends_nothing_while_it_stays_open_is_given_up(camera: MjpegCamera) -> None:
    shots = read_stream(camera.address, 0.5)
    threading.Thread(target=camera.send, args=(numbered(7),)).start()
    assert number_in(next(shots).rgb()) == 7
    with pytest.raises(CameraError, match=r"nothing was received for 0\.5 s") as caught:
        next(shots)
    assert caught.value.code == "camera_silent"


def test_a_stream_that_is_lost_is_opened_again(camera: MjpegCamera) -> None:
    watched = live(camera)
    with closing(watched.frames(threading.Event())) as frames:  # type: ignore[type-var]
        for count in range(1, 4):
            threading.Thread(target=camera.send, args=(numbered(count),)).start()
            assert number(next(frames)) == count
            camera.hang_up()
        camera.wait_asked(4)


class Picture:
    """A frame of one shade; `key` stands for its bytes."""

    def __init__(self, captured: float, shade: int, key: object) -> None:
        self.captured, self._shade, self.key = captured, shade, key

    def rgb(self) -> Pixels:
        return np.full((4, 4, 3), self._shade, np.uint8)

    def brightness(self) -> float:
        return float(self._shade)

    def same_as(self, other: Shot) -> bool:
        return isinstance(other, Picture) and self.key == other.key


class Scene:
    """A camera with a clock that the test turns, played by a thread; `taken` are the frames that it gave."""

    def __init__(self, interval_s: float = 0.0, black_after: int = 0, *, expected: bool = True) -> None:
        self.now = 1000.0
        self.problem: CameraError | None = None
        self._shots: queue.Queue[Picture | None] = queue.Queue()
        self.camera = LiveCamera("cam", self._read, interval_s, black_after, lambda: self.now, expected=expected)
        self.stop = threading.Event()
        self.taken: queue.Queue[Frame] = queue.Queue()
        self._thread = threading.Thread(target=self._play, daemon=True)
        self._thread.start()
        until(lambda: self.camera.health().age_s is not None)

    def _play(self) -> None:
        for frame in self.camera.frames(self.stop):
            self.taken.put(frame)

    def _read(self) -> Generator[Shot | None, None, None]:
        while not self.stop.is_set():
            yield None
            shot = self._shots.get()
            self._shots.task_done()
            if shot is None:
                if self.problem is not None:
                    raise self.problem
                return
            yield shot

    def show(self, shade: int = 90, key: object = None) -> None:
        """Until the camera has read it."""
        self._shots.put(Picture(self.now, shade, key or object()))
        self._shots.put(Picture(self.now, shade, key)) if key else None
        self._shots.join()

    def lose(self, problem: CameraError | None) -> None:
        self.problem = problem
        self._shots.put(None)
        self._shots.join()

    def code(self) -> str:
        problem = self.camera.health().problem
        return problem.code if problem is not None else ""

    def close(self) -> None:
        self.stop.set()
        for _ in range(2):
            self._shots.put(None)
        self._thread.join()


@pytest.fixture
def scene() -> Iterator[Scene]:
    opened = Scene()
    yield opened
    opened.close()


def test_no_new_frame_for_two_seconds_is_stale_and_the_next_is_back(scene: Scene) -> None:
    assert scene.code() == ""
    scene.show()
    scene.taken.get(timeout=60)
    scene.now += 2.0
    assert scene.code() == ""
    scene.now += 0.1
    assert scene.code() == "camera_silent"
    assert scene.camera.health().age_s == pytest.approx(2.1)
    with pytest.raises(CameraError, match="no new frame comes"):
        scene.camera.read_latest(60_000)
    scene.show()
    scene.taken.get(timeout=60)
    until(lambda: scene.code() == "")


def test_a_camera_that_waits_for_its_own_trigger_may_be_silent_but_not_lost() -> None:
    scene = Scene(expected=False)
    scene.show()
    scene.taken.get(timeout=60)
    scene.now += 3600.0
    assert scene.code() == ""
    scene.lose(CameraError("unplugged", "camera_not_found"))
    until(lambda: scene.code() == "camera_not_found")
    scene.close()


def test_a_camera_that_never_gave_a_frame_is_stale_with_its_reason(scene: Scene) -> None:
    scene.lose(CameraError("404: there is nothing", "camera_not_found"))
    scene.now += 2.1
    until(lambda: scene.code() == "camera_not_found")
    assert "camera cam: 404" in str(scene.camera.health().problem)


def test_three_intervals_where_they_are_longer() -> None:
    scene = Scene(interval_s=10.0)
    scene.show()
    scene.taken.get(timeout=60)
    scene.now += 29.9
    assert scene.code() == ""
    scene.now += 0.2
    assert scene.code() == "camera_silent"
    scene.close()


def test_a_slow_camera_has_its_own_interval(scene: Scene) -> None:
    """One frame in five seconds is no reason to call it dead after two."""
    for _ in range(4):
        scene.show()
        until(lambda: scene.camera.health().age_s == 0)
        scene.now += 5.0
    scene.now += 9.0
    assert scene.code() == ""
    scene.now += 2.0
    assert scene.code() == "camera_silent"


def test_the_same_picture_again_and_again_is_frozen_and_gives_no_results(scene: Scene) -> None:
    scene.show(key="first")
    scene.taken.get(timeout=60)
    for _ in range(30):
        scene.now += 0.1
        scene.show(key="first")
    until(lambda: scene.code() == "camera_frozen")
    assert scene.taken.empty()
    scene.show(key="second")
    scene.taken.get(timeout=60)
    assert scene.code() == ""


@pytest.mark.parametrize(("black_after", "code"), [(10, "camera_black"), (0, "")])
def test_black_frames_are_a_camera_that_sees_nothing_where_that_is_asked_for(black_after: int, code: str) -> None:
    scene = Scene(black_after=black_after)
    for count in range(9):
        scene.show(shade=4)
        until(lambda count=count: scene.taken.qsize() == count + 1)  # type: ignore[misc]
        assert scene.code() == ""
    scene.show(shade=4)
    until(lambda: scene.code() == code)
    if black_after:
        scene.show(shade=4)
        assert scene.taken.qsize() == 9, "it gives no results"
    scene.show(shade=5)
    until(lambda: scene.code() == "")
    scene.close()


def test_who_asks_late_gets_the_first_frame_of_the_moment(scene: Scene) -> None:
    scene.show()
    until(lambda: scene.camera.health().age_s == 0)
    assert scene.camera.read_after(scene.now, 0).received == scene.now
    for _ in range(5):
        scene.now += 0.1
        scene.show()
        until(lambda: scene.camera.read_latest(50).received == scene.now)
    assert scene.camera.read_after(1000.15, 0).received == pytest.approx(1000.2)
    with pytest.raises(CameraError, match="no frame within 0 ms"):
        scene.camera.read_after(scene.now + 0.1, 0)
