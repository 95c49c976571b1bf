"""Looks at what the cameras show: pictures that are not as they were learnt are said on MQTT."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from typing import Literal

from lineside.edge.degraded import Degraded
from lineside.edge.inspection.watched import WatchedFor
from lineside.edge.wire.messages import JSON_TYPE, Event, WireError
from lineside.edge.wire.store import Outgoing
from lineside.edge.wire.topics import Topics
from lineside.edge.wire.watched import WireWatched
from lineside.runtime.chat import Picture
from lineside.runtime.inspection.drift import Change, Drift
from lineside.runtime.inspection.observation import Inspection
from lineside.runtime.inspection.picture_figures import figures_of

log = logging.getLogger("lineside.cameras")
CODES: dict[Change, str] = {
    "brightness": "light_changed",
    "sharpness": "focus_changed",
    "position": "camera_moved",
    "gate_score": "pictures_unusual",
    "unsure": "often_unsure",
}
AGAIN: dict[Change, str] = {
    "brightness": "as bright as those it learnt from",
    "sharpness": "as sharp as those it learnt from",
    "position": "taken from where those were that it learnt from",
    "gate_score": "as usual for its gate",
    "unsure": "no more often `unsure` than expected",
}
LEARN = "if this is how it stays, run `lineside learn` or `lineside calibrate` again"


class DriftWatch:
    """Says a change on `event/{camera}`, when it begins and when it is over, and in `degraded` meanwhile."""

    def __init__(self, topics: Topics, send: Callable[[Outgoing], None], degraded: Degraded) -> None:
        self._topics, self._send, self._degraded = topics, send, degraded
        self._lock = threading.Lock()
        self._watched: dict[str, WatchedFor] = {}
        self._drifts: dict[str, Drift] = {}

    def exchange(self, watched: Mapping[str, WatchedFor]) -> None:
        """Watch these from now on. Where a camera learnt anew, what was said of it is over."""
        with self._lock:
            before, self._watched = self._watched, dict(watched)
            for camera in before.keys() | watched.keys():
                if before.get(camera) == watched.get(camera):
                    continue
                if (drift := self._drifts.pop(camera, None)) is not None:
                    self._end(camera, drift.changed)
                if (new := watched.get(camera)) is not None:
                    self._drifts[camera] = Drift(new.usual, new.gate)

    def see(self, camera: str, picture: Picture, inspection: Inspection) -> None:
        """Take in a picture `(height, width, 3)` and what was made of it, in about two milliseconds."""
        if camera not in self._drifts:
            return
        figures, gate = figures_of(picture), inspection.gate
        with self._lock:
            drift = self._drifts.get(camera)
            if drift is None:
                return
            before = drift.changed
            drift.add(
                figures,
                gate.score if gate is not None else None,
                unsure=inspection.verdict == "unsure",
                blank=inspection.decided_by == "picture",
            )
            for change in sorted(drift.changed - before):
                self._begin(camera, change, drift)
            self._end(camera, before - drift.changed)

    def figures(self) -> dict[str, WireWatched]:
        """For `health`, from any thread."""
        with self._lock:
            return {camera: _wire(drift) for camera, drift in sorted(self._drifts.items())}

    def _begin(self, camera: str, change: Change, drift: Drift) -> None:
        sentence = sentence_of(camera, change, drift)
        log.warning("%s", sentence)
        self._degraded.set(_key(camera, change), sentence)
        self._report("pictures_changed", camera, change, sentence)

    def _end(self, camera: str, changes: frozenset[Change]) -> None:
        for change in sorted(changes):
            sentence = f"the pictures of {camera} are {AGAIN[change]} again"
            log.info("%s", sentence)
            self._degraded.clear(_key(camera, change))
            self._report("pictures_as_before", camera, change, sentence)

    def _report(
        self, kind: Literal["pictures_changed", "pictures_as_before"], camera: str, change: Change, sentence: str
    ) -> None:
        event = Event(event_type=kind, camera=camera, error=WireError(code=CODES[change], message=sentence))
        self._send(Outgoing(self._topics.event(camera), event.encode(), JSON_TYPE))


def sentence_of(camera: str, change: Change, drift: Drift) -> str:
    """What has changed, and what to do."""
    found, pictures = drift.figures, f"the pictures of {camera}"
    learnt = "those it learnt from"
    if change == "brightness":
        return f"{pictures} are {found.brightness or 0:.2g} times as bright as {learnt}: see to the light; {LEARN}"
    if change == "sharpness":
        return f"{pictures} are blurred, unlike {learnt}: see to the lens, its focus and dirt on it; {LEARN}"
    if change == "position":
        if drift.elsewhere:
            return f"{pictures} show something else than {learnt}: see to where the camera points; {LEARN}"
        where = _where(found.right or 0.0, found.down or 0.0)
        return f"{camera} has moved: its pictures show everything {where} than {learnt}; set it back; {LEARN}"
    if change == "gate_score":
        most = drift.gate.most if drift.gate is not None else 0.0
        return (
            f"half of {pictures} are so unusual that they fail: their scores are around {found.gate_score:.3g}, and "
            f"{most:.3g} is the bound; look at them; {LEARN}"
        )
    return (
        f"{found.unsure or 0:.0%} of {pictures} are `unsure`, and {drift.expected_unsure:.0%} were expected: look at "
        f"them; {LEARN}"
    )


def _where(right: float, down: float) -> str:
    ways = [(abs(right), "to the right" if right > 0 else "to the left"), (abs(down), "down" if down > 0 else "up")]
    return " and ".join(f"{by:.0f} pixels further {way}" for by, way in ways if by >= 0.5)


def _key(camera: str, change: Change) -> str:
    return f"pictures of {camera}: {change}"


def _wire(drift: Drift) -> WireWatched:
    figures = drift.figures
    rounded = {
        name: None if value is None else round(value, 3)
        for name, value in (
            ("brightness", figures.brightness),
            ("sharpness", figures.sharpness),
            ("right_px", figures.right),
            ("down_px", figures.down),
            ("likeness", figures.likeness),
            ("gate_score", figures.gate_score),
            ("unsure", figures.unsure),
        )
    }
    return WireWatched(**rounded, changed=sorted(CODES[change] for change in drift.changed))
