"""Pictures that parts did without: one that comes after all is of no other part."""

from __future__ import annotations

import time
from dataclasses import dataclass

from lineside.devices.cameras.frame import Frame
from lineside.edge.triggers.gathering import Gathering

PAUSE_S = 60.0
"""A queue owes a picture until no part has waited for one for so long: only a pause shows that none comes any more."""


@dataclass(frozen=True, eq=False)
class _Owed:
    camera: str
    gathering: Gathering
    until: float


class Owed:
    """By camera; whoever holds it sees to its threads."""

    def __init__(self) -> None:
        self._owed: list[_Owed] = []

    def add(self, camera: str, gathering: Gathering, *, queued: bool) -> None:
        """A sent frame may be late once more by `wait_s`. What a queue owes is owed as long as the last of it."""
        self.settle(camera, gathering)
        until = gathering.deadline + gathering.config.wait_s
        if queued:
            until = max(gathering.deadline, time.monotonic()) + PAUSE_S
            before = [one for one in self._owed if one.camera == camera]
            self._owed = [one for one in self._owed if one.camera != camera]
            self._owed += [_Owed(camera, one.gathering, max(until, one.until)) for one in before]
        self._owed.append(_Owed(camera, gathering, until))

    def settle(self, camera: str, gathering: Gathering) -> None:
        """It has come, or nobody waits for it any more."""
        self._owed = [one for one in self._owed if one.camera != camera or one.gathering is not gathering]

    def parts(self) -> list[Gathering]:
        return [one.gathering for one in self._owed]

    def to(self, frame: Frame, *, queued: bool) -> list[Gathering]:
        """Parts whose picture this may be, the first part first. A frame that names its part is not late: it may be
        there for that part's next trigger.
        """
        now = time.monotonic()
        self._owed = [one for one in self._owed if one.until > now]
        parts = [one.gathering for one in self._owed if one.camera == frame.camera]
        return [part for part in parts if part.fits(frame, queued=queued) and not part.names(frame)]
