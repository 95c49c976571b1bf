"""Gathers, for each trigger, a picture of each of its cameras, while earlier parts wait for the model.

A live camera is asked for its first frame after the trigger. A camera that is a queue gives its next picture. What is
sent over MQTT is the part's that it names, or that of its time; it waits here for a trigger that is on its way. A
picture that may be of more than one part is taken for none.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from math import inf

from lineside.devices.cameras.frame import Frame
from lineside.edge.camera_config import CameraConfig
from lineside.edge.errors import RequestError
from lineside.edge.frames.mailbox import Work
from lineside.edge.triggers.gathering import Gathering, size_of
from lineside.edge.triggers.live_cameras import LiveCameras
from lineside.edge.triggers.owed import Owed
from lineside.edge.triggers_config import TriggerConfig, alone
from lineside.edge.wire.views import WireMissing

HELD_S = 2.0
"""A frame that was sent waits so long for its trigger: the two may come on different connections."""
HELD_FRAMES = 64
EARLY_BYTES = 32 * 1024 * 1024
"""Of one camera: so many frames, and bytes of them, wait for a trigger."""


@dataclass(frozen=True, eq=False)
class _Early:
    """A frame that no trigger has asked for yet; `until` is None where it waits for ever."""

    work: Work
    triggered: bool
    until: float | None


class Collector:
    """`begin` gathers; when all is there, or the time is over, the part goes into the pipeline's queue.

    Args:
        cameras: how the station's cameras are now.
        live: whether a camera runs whether anybody looks or not.
        put: into the pipeline's queues, with whether it must be answered.
        refuse: a frame that must be answered and is of no part, with why; `drop` one that must not.
    """

    def __init__(
        self,
        triggers: Mapping[str, TriggerConfig],
        cameras: Callable[[], Mapping[str, CameraConfig]],
        live: Callable[[str], bool],
        after: Callable[[str, float, float], Frame],
        put: Callable[[Work, bool], None],
        refuse: Callable[[Frame, RequestError], None],
        drop: Callable[[Frame], None],
    ) -> None:
        self._triggers, self._cameras, self._live = triggers, cameras, live
        self._put_into, self._refuse, self._drop = put, refuse, drop
        self._alone = alone(dict(triggers))
        self._named = {camera for trigger in triggers.values() for camera in trigger.cameras}
        before = {camera: [t.before_s for t in triggers.values() if camera in t.cameras] for camera in self._named}
        self._hold_s = {
            camera: max(spans) + (HELD_S if camera in self._alone else 0.0) for camera, spans in before.items()
        }
        self._condition = threading.Condition()
        self._gatherings: list[Gathering] = []
        self._early: dict[str, deque[_Early]] = {camera: deque() for camera in self._named}
        self._owed = Owed()
        self._coming: dict[object, tuple[TriggerConfig, float]] = {}
        self._held_bytes, self._closed = 0, False
        self._live_cameras = LiveCameras(after)
        self._thread = threading.Thread(target=self._run, name="triggers-collect", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        with self._condition:
            self._closed = True
            self._condition.notify_all()
        self._live_cameras.close()
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    def held_bytes(self) -> int:
        """Of pictures whose parts wait, and of those that wait for a trigger."""
        with self._condition:
            return self._held_bytes + sum(_bytes_of(early) for early in self._early.values())

    def announce(self, trigger_id: str, name: str, moment: float) -> object:
        """A trigger has come that is not taken over yet: a frame that is here first may be its part's. None where it
        is one that waits already.
        """
        mark, config = object(), self._triggers[name]
        with self._condition:
            if any(one.trigger.id == trigger_id for one in self._gatherings):
                return None
            self._coming[mark] = config, moment + config.delay_s - config.before_s
        return mark

    def withdraw(self, announced: object) -> None:
        """It has begun, or is none."""
        with self._condition:
            self._coming.pop(announced, None)

    def begin(self, gathering: Gathering, problems: Mapping[str, str]) -> None:
        """Gather for a trigger.

        Args:
            problems: of cameras that are switched off: why.
        """
        with self._condition:
            self._coming.pop(gathering.announced, None)
            self._end_others(gathering)
            self._gatherings.append(gathering)
            for camera in gathering.config.cameras:
                if camera in problems:
                    self._put(gathering, camera, _missing(camera, "switched_off", problems[camera]))
                elif self._live(camera) and not gathering.resumed:
                    gathering.asked.add(camera)
                elif gathering.resumed and not self._is_sent(camera):
                    gone = "the station was stopped before it had looked at this part"
                    self._put(gathering, camera, _missing(camera, "station_stopped", gone))
                    if not self._live(camera):
                        self._owe(gathering, camera)
                elif (early := self._take_early(gathering, camera)) is not None:
                    self._put(gathering, camera, early)
                elif gathering.resumed:
                    self._owe(gathering, camera)  # one that does not name it may be its, and is taken for none
            asked = list(gathering.asked)
            self._condition.notify_all()
        for camera in asked:
            name, begins, ends = gathering.trigger.name, gathering.earliest, gathering.deadline
            self._live_cameras.ask(name, camera, begins, ends, partial(self._settle, gathering))
        self._finish(gathering)

    def offer(self, work: Work, triggered: bool) -> bool:
        """A frame has come; False where it is none of a trigger's."""
        frame = work.frame
        if frame.camera not in self._named:
            return False
        own = frame.camera in self._alone
        if self._live(frame.camera):
            if own:
                self._let_go(work)
            return own
        queued = not self._is_sent(frame.camera)
        with self._condition:
            found, doubtful, problem = self._whose(frame, queued=queued)
            pushed_out: list[_Early] = []
            if found is not None:
                self._put(found, frame.camera, work)
            elif problem is None:
                if not (own or (self._hold_s[frame.camera] and not queued)):
                    return False
                pushed_out = self._keep(_Early(work, triggered, None), queued=queued)
        for gathering in [found] if found is not None else doubtful:
            self._finish(gathering)
        if problem is not None:
            if not own:
                return False
            self._reject(work, problem, answered=triggered or queued)
        for early in pushed_out:
            self._unclaimed(early)
        return True

    def _whose(self, frame: Frame, *, queued: bool) -> tuple[Gathering | None, list[Gathering], RequestError | None]:
        """The part that a frame is of; else those that wait in vain because it may be of several of them, and why it
        is of none; all empty where it may be of one that is still to come.
        """
        waiting = [one for one in self._gatherings if one.wants(frame, queued=queued)]
        for one in waiting:
            if one.names(frame):
                return one, [], None
        owed = self._owed.to(frame, queued=queued)
        coming = [begins for config, begins in self._coming.values() if frame.camera in config.cameras]
        coming = [begins for begins in coming if begins <= frame.received and not queued]
        if frame.stamped and coming and max(coming) > max((one.begins for one in waiting), default=-inf):
            return None, [], None
        if owed and (queued or not (waiting or coming)):
            self._owed.settle(frame.camera, owed[0])
            over = f"it came after the time of its part was over (`triggers.{owed[0].trigger.name}.wait_s`)"
            return None, [], RequestError("too_late", over)
        if queued or len(owed) + len(waiting) + len(coming) <= 1:
            return next(iter(waiting), None), [], None
        whose = "nobody knows of which part its picture is: send `part_id` or `captured_at` with it, or see `wait_s`"
        for one in waiting:
            self._put(one, frame.camera, _missing(frame.camera, "ambiguous", whose))
            self._owe(one, frame.camera)
        # The sender keeps the order: whichever it is, that of the first part does not come any more.
        if owed or waiting:
            self._owed.settle(frame.camera, min(owed + waiting, key=lambda one: one.begins))
        return None, waiting, RequestError("ambiguous", whose)

    def _keep(self, early: _Early, *, queued: bool) -> list[_Early]:
        """Until a trigger asks for it; returns those that wait no longer for that."""
        camera = early.work.frame.camera
        until = None if queued else time.monotonic() + self._hold_s[camera]
        queue = self._early[camera]
        queue.append(replace(early, until=until))
        self._condition.notify_all()
        pushed_out = []
        while len(queue) > HELD_FRAMES or (len(queue) > 1 and _bytes_of(queue) > EARLY_BYTES):
            pushed_out.append(queue.popleft())
        return pushed_out

    def _end_others(self, gathering: Gathering) -> None:
        """What is captured from the moment of a part on is of no earlier one."""
        for config, begins in self._coming.values():
            for camera in set(config.cameras).intersection(gathering.config.cameras):
                if begins > gathering.begins:
                    gathering.ends[camera] = min(gathering.ends.get(camera, inf), begins)
        for one in {*self._gatherings, *self._owed.parts()}:
            for camera in set(one.config.cameras).intersection(gathering.config.cameras):
                first, second = sorted((one, gathering), key=lambda each: each.begins)
                if first.begins < second.begins:
                    first.ends[camera] = min(first.ends.get(camera, second.begins), second.begins)

    def _owe(self, gathering: Gathering, camera: str) -> None:
        self._owed.add(camera, gathering, queued=not self._is_sent(camera))

    def _is_sent(self, camera: str) -> bool:
        settings = self._cameras().get(camera)
        return settings is not None and settings.kind == "mqtt"

    def _take_early(self, gathering: Gathering, camera: str) -> Work | None:
        queued = not self._is_sent(camera)
        fitting = [one for one in self._early[camera] if gathering.wants(one.work.frame, queued=queued)]
        if not fitting:
            return None
        best = next((one for one in fitting if gathering.names(one.work.frame)), fitting[0])
        self._early[camera].remove(best)
        return best.work

    def _settle(self, gathering: Gathering, camera: str, found: Work | WireMissing) -> None:
        with self._condition:
            self._put(gathering, camera, found)
        self._finish(gathering)

    def _put(self, gathering: Gathering, camera: str, found: Work | WireMissing) -> None:
        gathering.found[camera] = found
        if isinstance(found, Work):
            self._owed.settle(camera, gathering)
            self._held_bytes += size_of(found.frame)

    def _finish(self, gathering: Gathering) -> None:
        with self._condition:
            if not gathering.complete or gathering not in self._gatherings:
                return
            self._gatherings.remove(gathering)
        part = gathering.part()
        self._put_into(Work(part, partial(self._done, gathering)), True)

    def _done(self, gathering: Gathering) -> None:
        with self._condition:
            self._held_bytes -= gathering.size()
        for work in gathering.works():
            work.done()
        gathering.done()

    def _unclaimed(self, early: _Early) -> None:
        frame = early.work.frame
        if frame.camera not in self._alone:
            self._put_into(early.work, early.triggered)
        else:
            names = ", ".join(self._alone[frame.camera])
            why = (
                f"no trigger asked for it: {frame.camera} is looked at for {names} alone (`also_untriggered` is false)"
            )
            self._reject(early.work, RequestError("no_trigger", why), answered=early.triggered)

    def _reject(self, work: Work, problem: RequestError, *, answered: bool) -> None:
        if answered:
            self._refuse(work.frame, problem)
            work.done()
        else:
            self._let_go(work)

    def _let_go(self, work: Work) -> None:
        self._drop(work.frame)
        work.done()

    # On the collector's thread: what does not come

    def _run(self) -> None:
        while True:
            with self._condition:
                if self._closed:
                    return
                now = time.monotonic()
                late = [one for one in self._gatherings if one.deadline <= now]
                for one in late:
                    for camera in one.config.cameras:
                        if camera not in one.asked and camera not in one.found:
                            silent = f"no frame within {one.config.wait_s:g} s of the trigger"
                            self._put(one, camera, _missing(camera, "camera_silent", silent))
                            self._owe(one, camera)
                unclaimed = [early for queue in self._early.values() for early in _expired(queue, now)]
                if not unclaimed and not any(one.complete for one in late):
                    self._condition.wait(self._next_s(now))
                    continue
            for one in late:
                self._finish(one)
            for early in unclaimed:
                self._unclaimed(early)

    def _next_s(self, now: float) -> float | None:
        """Until something is over; None where nothing waits."""
        ends = [one.deadline for one in self._gatherings if one.deadline > now]
        ends += [early.until for queue in self._early.values() for early in queue if early.until is not None]
        return max(min(ends) - now, 0.001) if ends else None


def _missing(camera: str, code: str, reason: str) -> WireMissing:
    return WireMissing(camera=camera, code=code, reason=reason)


def _bytes_of(queue: deque[_Early]) -> int:
    return sum(size_of(early.work.frame) for early in queue)


def _expired(queue: deque[_Early], now: float) -> list[_Early]:
    """Taken out."""
    expired = [early for early in queue if early.until is not None and early.until <= now]
    for early in expired:
        queue.remove(early)
    return expired
