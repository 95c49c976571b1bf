"""The pictures of a question: the newest frames of cameras, a clip of one, or a picture that came with it."""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from lineside.devices.cameras.frame import Frame
from lineside.edge.config import Config
from lineside.edge.errors import RequestError
from lineside.edge.inspection.preparing import preparation_of
from lineside.edge.wire.asking import AskCommand, ShownFrame
from lineside.edge.wire.messages import FrameReference
from lineside.edge.wire.reference import read_referenced
from lineside.runtime.chat import Picture
from lineside.runtime.errors import EngineError, PictureTooLarge
from lineside.runtime.inspection.preparation import Preparation
from lineside.runtime.picture import decode_picture, fit_side

NEXT_S = 5.0
"""How long the next picture of a clip is waited for, behind its time."""
LOOK_S = 0.1
DATA_URL = "base64,"


class Newest(Protocol):
    """The newest frames of the station's cameras; see `edge.frames.newest`."""

    def latest(self, camera: str, max_age_s: float) -> Frame: ...

    def after(self, camera: str, moment: float, timeout_s: float) -> Frame: ...


class Switches(Protocol):
    def camera_on(self, name: str) -> bool: ...


@dataclass(frozen=True)
class Shown:
    """A picture as the model is shown it, what it is called there, and what the reply says of it."""

    picture: Picture
    label: str
    frame: ShownFrame


class Eyes:
    """Takes the pictures of a question when its turn has come: what waited through an outage sees no old ones.

    Args:
        show: publishes a picture of a camera.
    """

    def __init__(self, newest: Newest, switches: Switches, show: Callable[[str, Picture], None]) -> None:
        self._newest, self._switches, self._show = newest, switches, show

    def check(self, request: AskCommand, config: Config) -> None:
        """Raises RequestError where a camera is not one of the station's, or is off."""
        for camera in request.cameras:
            self._check(camera, config)

    def look(self, request: AskCommand, config: Config, deadline: float, cancelled: Callable[[], bool]) -> list[Shown]:
        """The pictures, as they are shown to the model, once `check` has passed.

        Args:
            deadline: on `time.monotonic()`.

        Raises:
            RequestError: a camera has no frame that is new enough; a picture cannot be read.
        """
        if request.over_s and time.monotonic() + request.over_s >= deadline:
            raise RequestError("deadline", f"the command expires before a clip of {request.over_s:g} s is taken")
        left, shown = config.inspect.max_pixels, list[Shown]()
        for read in self._pictures(request, config, deadline, cancelled):
            picture, frame = read(left)
            left -= picture.shape[0] * picture.shape[1]
            label = f"Picture {len(shown) + 1}{_whence(frame)}:"
            side = request.max_side or (config.cameras[frame.camera].max_side if frame.camera else 0)
            shown.append(Shown(fit_side(picture, side or None), label, frame))
        if request.snapshot:
            last = {one.frame.camera: one.picture for one in shown if one.frame.camera}
            for camera, picture in last.items():
                self._show(camera, picture)
        return shown

    def _pictures(
        self, request: AskCommand, config: Config, deadline: float, cancelled: Callable[[], bool]
    ) -> Iterator[Callable[[int], tuple[Picture, ShownFrame]]]:
        max_age_s = request.max_age_s or config.inspect.max_age_s
        if request.image is not None:
            yield _sent(request, config)
        began = time.monotonic()
        for camera in request.cameras:
            preparation = preparation_of(config.cameras[camera])
            yield _of(self._newest.latest(camera, max_age_s), preparation)
            for number in range(1, request.frames):
                moment = began + number * request.over_s / (request.frames - 1)
                _wait_until(min(moment, deadline), cancelled)
                frame = self._newest.after(camera, moment, min(NEXT_S, max(deadline - time.monotonic(), 0.0)))
                yield _of(frame, preparation)

    def _check(self, camera: str, config: Config) -> None:
        if camera not in config.cameras:
            known = ", ".join(config.cameras) or "none"
            raise RequestError("unknown_camera", f"{camera!r} is not in the station file's [cameras]; it has {known}")
        if not self._switches.camera_on(camera):
            raise RequestError("switched_off", f"camera {camera} is switched off: `cameras.{camera}.enabled` is false")


def _wait_until(moment: float, cancelled: Callable[[], bool]) -> None:
    """Raises RequestError where the station stops meanwhile: the command is answered after the next start."""
    while (left := moment - time.monotonic()) > 0:
        if cancelled():
            raise RequestError("cancelled", "the station is stopping")
        time.sleep(min(left, LOOK_S))


def _of(frame: Frame, preparation: Preparation) -> Callable[[int], tuple[Picture, ShownFrame]]:
    """The whole frame, upright. Its age is that of when it was taken, not of when it is decoded."""
    age_s = round(time.monotonic() - frame.received, 3)

    def read(max_pixels: int) -> tuple[Picture, ShownFrame]:
        whose = f"camera {frame.camera}: "
        picture = frame.pixels if frame.pixels is not None else _decoded(frame.data or b"", max_pixels, whose)
        picture = preparation.upright(picture)
        height, width = picture.shape[:2]
        return picture, ShownFrame(
            camera=frame.camera,
            name=frame.name,
            captured_at=frame.captured_at,
            age_s=age_s,
            width=width,
            height=height,
            sha256=frame.digest(),
        )

    return read


def _sent(request: AskCommand, config: Config) -> Callable[[int], tuple[Picture, ShownFrame]]:
    """The picture that came with the question."""
    image = request.image

    def read(max_pixels: int) -> tuple[Picture, ShownFrame]:
        if isinstance(image, str):
            head, mark, rest = image.partition(DATA_URL)
            try:
                data = base64.b64decode(rest if mark and head.startswith("data:") else image, validate=True)
            except ValueError as error:
                raise RequestError("malformed", f"`image` is not base64: {error}") from None
            name = ""
        else:
            assert image is not None
            reference = FrameReference(path=image.path, sha256=image.sha256)
            data = read_referenced(config.folder.resolve(), reference, config.store.max_payload_bytes)
            name = Path(image.path).name
        picture = _decoded(data, max_pixels, "`image`: ")
        height, width = picture.shape[:2]
        return picture, ShownFrame(name=name, width=width, height=height, sha256=hashlib.sha256(data).hexdigest())

    return read


def _decoded(data: bytes, max_pixels: int, whose: str) -> Picture:
    """Raises RequestError, which says whose picture it is."""
    try:
        return decode_picture(data, max_pixels)
    except PictureTooLarge as error:
        told = f"{whose}{error}; the pictures of a question count together (`inspect.max_pixels`)"
        raise RequestError(error.code, told) from error
    except EngineError as error:
        raise RequestError(error.code, f"{whose}{error}") from error


def _whence(frame: ShownFrame) -> str:
    if not frame.camera or frame.captured_at is None:
        return ""
    return f", camera {frame.camera}, {frame.captured_at:%H:%M:%S} UTC"
