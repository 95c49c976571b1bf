"""A camera that runs whether anybody looks or not: a thread reads it, and the newest frame is what there is."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from statistics import median

from lineside.devices.cameras.frame import Frame
from lineside.devices.cameras.shot import Shot
from lineside.devices.errors import CameraError

log = logging.getLogger("lineside.cameras")
REOPEN_S = (1.0, 2.0, 5.0, 10.0)
"""Waiting times before a lost source is opened again; the last one repeats."""
STALE_S, STALE_INTERVALS = 2.0, 3
GAPS = 9
"""Between the last frames; their median is the camera's own interval."""
BLACK = 5.0
"""A frame whose mean is below is black."""
KEPT = 8
"""Shots of a camera that is asked for frames of a given moment: whoever asks late wants one that has passed."""
LOOK_S = 0.1
"""How often the wait for a frame looks whether it is to stop."""


@dataclass(frozen=True)
class CameraHealth:
    """How a camera does.

    Attributes:
        age_s: of its newest frame, or since it was started where there was none; None before it was started.
        problem: why no frames can be had; None where they can.
    """

    age_s: float | None
    problem: CameraError | None


class LiveCamera:
    """Samples what `read` gives, and opens it again where it ends or fails.

    Args:
        read: opens it; its generator may give None while nothing comes, and is told to end then, too.
        interval_s: between two samples; 0 for every frame that is there when the last one was taken.
        black_after: so many black frames one after the other are a camera that sees nothing; 0 for never.
        expected: whether frames come by themselves; False for a camera that waits for a trigger of its own, and whose
            silence says nothing.
    """

    live = True

    def __init__(
        self,
        name: str,
        read: Callable[[], Generator[Shot | None, None, None]],
        interval_s: float,
        black_after: int = 0,
        clock: Callable[[], float] = time.monotonic,
        *,
        expected: bool = True,
    ) -> None:
        self._name, self._read, self._interval_s, self._black_after = name, read, interval_s, black_after
        self._clock, self._expected = clock, expected
        self._changed = threading.Condition()
        self._newest: Shot | None = None
        self._kept: deque[tuple[int, Shot]] = deque(maxlen=1)
        self._number = self._black = 0
        self._gaps: deque[float] = deque(maxlen=GAPS)
        self._started: float | None = None
        self._repeats = False
        self._lost: CameraError | None = None

    def frames(self, stop: threading.Event) -> Iterator[Frame]:
        """The newest frame, each at most once. None come from a camera that is dead, frozen or black."""
        done = threading.Event()
        self._started = self._clock()
        reader = threading.Thread(target=self._run, args=(done,), name=f"reader-{self._name}", daemon=True)
        reader.start()
        try:
            yield from self._sample(stop)
        finally:
            done.set()
            reader.join(timeout=1.0)  # one that waits for bytes lets go of its connection when its time is over

    def read_latest(self, max_age_ms: float) -> Frame:
        """The newest frame, with the time of its capture.

        Raises:
            CameraError: it is older than that, or the camera has a problem; why.
        """
        frame = self._latest()[1]
        if self._clock() - frame.received > max_age_ms / 1e3:
            raise CameraError(f"camera {self._name}: no frame of the last {max_age_ms:g} ms", "camera_silent")
        return frame

    def read_after(self, moment: float, timeout_ms: float) -> Frame:
        """The first frame captured at `moment` (`time.monotonic()`) or later, of the last `KEPT`.

        Raises:
            CameraError: none came in time; why.
        """
        with self._changed:
            if self._kept.maxlen == 1:
                self._kept = deque(self._kept, maxlen=KEPT)
            came = self._changed.wait_for(
                lambda: self._newest is not None and self._newest.captured >= moment, timeout_ms / 1e3
            )
            first = next(((shot, number) for number, shot in self._kept if shot.captured >= moment), None)
        if not came or first is None:
            problem = self.health().problem
            raise problem or CameraError(f"camera {self._name}: no frame within {timeout_ms:g} ms", "camera_silent")
        if (problem := self.health().problem) is not None:
            raise problem
        return self._frame(*first)

    def health(self) -> CameraHealth:
        """From any thread."""
        with self._changed:
            since = self._started if self._newest is None else self._newest.captured
            if since is None:
                return CameraHealth(None, None)
            age_s = max(self._clock() - since, 0.0)
            if age_s > self._stale_after() and (self._expected or self._lost is not None):
                return CameraHealth(age_s, self._why())
            if self._black_after and self._black >= self._black_after:
                dark = CameraError(f"camera {self._name}: shows nothing but black", "camera_black")
                return CameraHealth(age_s, dark)
        return CameraHealth(age_s, None)

    def _latest(self) -> tuple[int, Frame]:
        if (problem := self.health().problem) is not None:
            raise problem
        with self._changed:
            shot, number = self._newest, self._number
        if shot is None:
            raise CameraError(f"camera {self._name}: no frame yet", "camera_silent")
        return number, self._frame(shot, number)

    def _frame(self, shot: Shot, number: int) -> Frame:
        captured_at = datetime.now(UTC) - timedelta(seconds=self._clock() - shot.captured)
        return Frame(self._name, None, shot.rgb(), captured_at, shot.captured, name=f"{number:06d}")

    def _stale_after(self) -> float:
        interval_s = max(self._interval_s, median(self._gaps) if self._gaps else 0.0)
        return max(STALE_S, STALE_INTERVALS * interval_s)

    def _why(self) -> CameraError:
        if self._lost is not None:
            return self._lost
        if self._repeats:
            return CameraError(f"camera {self._name}: frozen, the same picture again and again", "camera_frozen")
        return CameraError(f"camera {self._name}: connected, but no new frame comes", "camera_silent")

    def _sample(self, stop: threading.Event) -> Iterator[Frame]:
        taken, due = 0, self._clock()
        while not stop.wait(max(due - self._clock(), 0.0)):
            if not self._wait_for_newer(taken):
                continue
            try:
                taken, frame = self._latest()
            except CameraError:
                taken = self._number
                continue
            due = max(due + self._interval_s, self._clock())
            yield frame

    def _wait_for_newer(self, taken: int) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: self._number > taken, LOOK_S)

    def _run(self, done: threading.Event) -> None:
        failures = 0
        while not done.is_set():
            number = self._number
            problem = self._read_until_lost(done)
            failures = 0 if self._number > number else failures
            with self._changed:
                said, self._lost = self._lost, problem
            if not done.is_set() and (said is None or str(said) != str(problem)):
                log.warning("%s; opening it again until it gives pictures", problem)
            done.wait(REOPEN_S[min(failures, len(REOPEN_S) - 1)])
            failures += 1

    def _read_until_lost(self, done: threading.Event) -> CameraError:
        before: float | None = None
        try:
            with closing(self._read()) as shots:
                for shot in shots:
                    if shot is not None and self._keep(shot, before):
                        before = shot.captured
                    if done.is_set():
                        break
        except CameraError as error:
            return CameraError(f"camera {self._name}: {error}", error.code)
        return CameraError(f"camera {self._name}: its stream ended", "camera_ended")

    def _keep(self, shot: Shot, before: float | None) -> bool:
        """Take the frame as the newest, the last new one of this connection having been captured at `before`; False
        where it is not a new one.
        """
        repeats = self._newest is not None and shot.same_as(self._newest)
        black = bool(self._black_after) and shot.brightness() < BLACK
        with self._changed:
            self._repeats = repeats
            if repeats:
                return False
            if before is not None:
                self._gaps.append(shot.captured - before)
            self._newest, self._lost = shot, None
            self._number += 1
            self._kept.append((self._number, shot))
            self._black = self._black + 1 if black else 0
            self._changed.notify_all()
        return True
