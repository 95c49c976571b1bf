"""A new model is tried out beside the one that runs: on pictures that were kept, and on the frames that come."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from lineside.edge.config import Config
from lineside.edge.errors import RequestError, UpdateError
from lineside.edge.frames.pipeline import Look
from lineside.edge.history.keeper import History
from lineside.edge.history.records import Query
from lineside.edge.inspection.preparing import preparation_of, upright_picture
from lineside.edge.wire.messages import Verdict
from lineside.runtime.chat import Picture
from lineside.runtime.engine.scheduler import Priority, Request
from lineside.runtime.errors import EngineError, PictureError, RequestCancelled
from lineside.runtime.inspection.preparation import Preparation
from lineside.runtime.picture_kinds import SUFFIXES

SHADOW_S = 3600.0
"""So long a new model waits for the frames that it is to look at."""
LOOK_EVERY_S = 0.5


@dataclass
class Agreement:
    """How often a new model gave the verdict of the one that runs. `what` says on which pictures."""

    what: str
    looked: int = 0
    alike: int = 0
    others: list[str] = field(default_factory=list)

    def add(self, camera: str, old: Verdict, new: Verdict) -> None:
        self.looked += 1
        self.alike += old == new
        if old != new:
            self.others.append(f"{camera}: {old} became {new}")

    def check(self, least: float) -> str:
        """A sentence; raises UpdateError where they agree on less than this share."""
        sentence = f"the same verdict on {self.alike} of {self.looked} {self.what}"
        if self.looked and self.alike < least * self.looked:
            examples = ", ".join(dict.fromkeys(self.others[:5]))
            raise UpdateError("differs", f"{sentence} ({examples}): `updates.agreement` is {least:g}")
        return sentence


def kept_pictures(config: Config, history: History) -> Iterator[tuple[str, Picture]]:
    """Cameras and their pictures: of `updates.kept_folder`, or the latest frames of the history."""
    for camera, settings in config.cameras.items():
        preparation = preparation_of(settings)
        count = config.updates.kept_frames
        if config.updates.kept_folder:
            folder = config.resolve(config.updates.kept_folder) / camera
            paths = sorted(path for path in folder.glob("*") if path.suffix.lower() in SUFFIXES)
        else:
            records = history.search(Query(camera, limit=count)) if count else []
            paths = [history.folder / each.frame for each in records if each.frame and each.expired_at is None]
        for path in paths[:count]:
            if (picture := _read(path, preparation, config.inspect.max_pixels)) is not None:
                yield camera, picture


def _read(path: Path, preparation: Preparation, max_pixels: int) -> Picture | None:
    """None where it has gone, or is no picture."""
    try:
        return upright_picture(path.read_bytes(), preparation, max_pixels)
    except (OSError, PictureError):
        return None


def compare(old: Look, new: Look, pictures: Iterable[tuple[str, Picture]], cancelled: Callable[[], bool]) -> Agreement:
    """Both look at each picture, behind every frame and command. One that the old model cannot inspect is left out.

    Raises EngineError where the new one cannot.
    """
    agreement = Agreement("kept pictures")
    for camera, picture in pictures:
        try:
            before = _verdict(old, camera, picture, cancelled)
        except RequestCancelled:
            raise
        except (EngineError, RequestError):
            continue
        agreement.add(camera, before, _verdict(new, camera, picture, cancelled))
    return agreement


def _verdict(look: Look, camera: str, picture: Picture, cancelled: Callable[[], bool]) -> Verdict:
    """Where a frame or a command needed its memory meanwhile, the picture is looked at once more."""
    request = Request(Priority.TRIAL, None, cancelled)
    while True:
        try:
            inspection = look.inspector(camera).inspect(picture, request)
        except RequestCancelled:
            inspection = None
        if inspection is not None and inspection.finish_reason != "cancelled":
            return inspection.verdict
        if cancelled():
            raise RequestCancelled("the station is stopping")


class Shadow:
    """The new model looks at frames too: what it says is counted, and goes nowhere. While it looks, frames pass by."""

    def __init__(self, new: Look, frames: int, cancelled: Callable[[], bool]) -> None:
        self._new, self._frames, self._cancelled = new, frames, cancelled
        self._shown: queue.Queue[tuple[str, Picture, Verdict]] = queue.Queue(1)

    def show(self, camera: str, picture: Picture, verdict: Verdict) -> None:
        """On the pipeline's thread."""
        try:
            self._shown.put_nowait((camera, picture, verdict))
        except queue.Full:
            return

    def run(self) -> Agreement:
        """Raises EngineError where it cannot inspect a frame; UpdateError where too few come."""
        agreement, until = Agreement("frames in shadow"), time.monotonic() + SHADOW_S
        while agreement.looked < self._frames:
            if self._cancelled():
                raise RequestCancelled("the station is stopping")
            if time.monotonic() > until:
                seen = f"{agreement.looked} of {self._frames} frames"
                raise UpdateError("too_few_frames", f"{seen} came within {SHADOW_S:g} s: ask for fewer `shadow_frames`")
            try:
                camera, picture, verdict = self._shown.get(timeout=LOOK_EVERY_S)
            except queue.Empty:
                continue
            agreement.add(camera, verdict, _verdict(self._new, camera, picture, self._cancelled))
        return agreement
