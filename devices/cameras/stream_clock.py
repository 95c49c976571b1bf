"""When a frame of a stream was captured, from its presentation time and its time of arrival."""

from __future__ import annotations

DRIFT = 1e-3
"""Seconds a second by which a camera's clock may be slower than ours without its frames seeming older and older."""
LATE_S, BELIEVED_S = 5.0, 10.0
"""Frames that are late by more, for so long: the stream's times are made up, as some cameras' are."""
JUMP_S = 1.0
"""Presentation times that go back by more begin anew; by less, frames were sent out of order."""


class StreamClock:
    """Presentation times say how far apart frames were captured; the frame that came fastest counts as not delayed.

    So the age of frames that were held up on their way is known, whatever the camera's own clock says, which is seldom
    set. What every frame loses on its way is not known.

    Attributes:
        usable: False once the presentation times were found to be made up. From then on a frame's arrival counts.
    """

    def __init__(self) -> None:
        self.usable = True
        self._offset = 0.0
        self._arrived: float | None = None
        self._pts = 0.0
        self._late_since: float | None = None

    def captured(self, pts_s: float | None, arrived: float) -> float:
        """On the clock of `arrived`, and never later than that."""
        if pts_s is None or not self.usable:
            return arrived
        offset = arrived - pts_s
        if self._arrived is None or pts_s < self._pts - JUMP_S:
            self._offset = offset
        else:
            self._offset = min(offset, self._offset + DRIFT * (arrived - self._arrived))
        self._arrived, self._pts = arrived, pts_s
        return arrived if self._made_up(offset - self._offset, arrived) else pts_s + self._offset

    def _made_up(self, delay_s: float, arrived: float) -> bool:
        if delay_s <= LATE_S:
            self._late_since = None
        elif self._late_since is None:
            self._late_since = arrived
        elif arrived - self._late_since > BELIEVED_S:
            self.usable = False
        return not self.usable
