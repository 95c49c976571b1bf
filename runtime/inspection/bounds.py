"""What a model was taught to inspect, held against what is asked of it: beyond that its `pass` and `fail` are noise."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from lineside.runtime.chat import Picture, check_pixels
from lineside.runtime.inspection.task import InspectionTask
from lineside.runtime.manifest import Beside, Color, Manifest, Taught, TaughtPart

SAMPLES = 64
"""Rows and columns of a picture that are looked at to tell its colours."""
LEAST_CHROMA = 6.0
"""Levels of 255 between the strongest and the weakest channel, on average, of a picture in colour. Photographs of
metal have 28 and more, those of a grey camera saved as JPEG below 2."""
LEAST_CONTRAST, DARKEST = 3.0, 5.0
"""Deviation and mean of the levels of a picture that shows something."""


def not_taught(taught: Taught, task: InspectionTask) -> str:
    """Why the model's verdicts on `task` do not count; empty where it was taught such a task."""
    if taught.parts is None:
        return ""
    if task.examples and task.reference is None:
        return "the model was not taught to judge by `examples`"
    known = [part for part in taught.parts if part.name is None or _same(part.name, task.part)]
    if not known:
        names = _listed(part.name or "" for part in taught.parts)
        if not task.part:
            return f"it is not said which part is shown, and the model was taught {names} only"
        return f"the model was taught {names}, not {task.part}"
    problems = [_problem(part, task) for part in known]
    return "" if "" in problems else problems[0]


def not_asked_so(manifest: Manifest, task: InspectionTask) -> str:
    """Why the model's verdicts on a task do not count that a station words in another way; empty where they do."""
    if manifest.taught.parts is None or task.asked == manifest.inspection:
        return ""
    return "the model was not taught to be asked as `inspect.template` says"


def taught_colors(taught: Taught, task: InspectionTask) -> tuple[Color, ...] | None:
    """Of the pictures of such a task that the model was taught; None where nothing bounds them."""
    colors: tuple[Color, ...] = ()
    for part in taught.parts or ():
        if (part.name is None or _same(part.name, task.part)) and not _problem(part, task):
            if part.colors is None:
                return None
            colors += part.colors
    return colors or None


def unusual_color(picture: Picture, colors: Sequence[Color] | None) -> str:
    """Why a verdict that rests on pictures of these `colors` does not count for this one; empty where it does."""
    if colors is None or (own := color_of(picture)) in colors:
        return ""
    return f"the picture is {_COLORS[own]}, and those that the verdict rests on were {_COLORS[colors[0]]}"


def color_of(picture: Picture) -> Color:
    """Of a picture `(height, width, 3)`: whether it has any colours."""
    few = _sampled(picture).astype(np.int16)
    return "color" if float((few.max(2) - few.min(2)).mean()) >= LEAST_CHROMA else "grey"


def blank(picture: Picture) -> str:
    """Why nothing can be said of a picture that shows nothing; empty where it shows something. Raises PictureEmpty."""
    check_pixels(picture)
    few = _sampled(picture)
    if float(few.mean()) < DARKEST:
        return "the picture is black: see to the light, the lens and the camera"
    if float(few.std()) < LEAST_CONTRAST:
        return "the picture shows one even surface: see to the light, the lens and the camera"
    return ""


_COLORS: dict[Color, str] = {"color": "in colour", "grey": "grey"}


def _problem(part: TaughtPart, task: InspectionTask) -> str:
    """What of `task` the model was not taught of such a part, its name aside."""
    name = part.name or "parts"
    types = part.defect_types
    if types is not None and (unknown := [own for own in task.defect_types if own not in types]):
        return f"the model was taught {_listed(types)} on {name}, not {_listed(unknown)}"
    beside: Beside = "without" if task.reference is None else "with"
    if part.reference is not None and beside not in part.reference:
        other = "with" if beside == "without" else "without"
        return f"the model was taught {name} {other} a reference beside it, not {beside} one"
    return ""


def _same(one: str, other: str) -> bool:
    """Whether two names are one, however they are written."""
    return one.casefold().replace("_", " ").split() == other.casefold().replace("_", " ").split()


def _listed(names: Iterable[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def _sampled(picture: Picture) -> Picture:
    rows, columns = (max(side // SAMPLES, 1) for side in picture.shape[:2])
    return picture[::rows, ::columns]
