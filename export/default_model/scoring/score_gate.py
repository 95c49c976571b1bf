"""Score the gate on parts that it learns from ten good pictures, as `lineside learn` does.

Ball screws of camera positions that the model never saw; and bottles of a video that it never saw, whose flaws are
painted in, since nobody filmed bad ones.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from lineside.export.default_model.data.ballscrew import Example
from lineside.export.default_model.scoring.scores import auroc
from lineside.runtime.chat import Picture
from lineside.runtime.inspection.gate import Gate
from lineside.runtime.inspection.gate_memory import learn
from lineside.runtime.sessions.patch_features import PatchFeatures

GOOD_PICTURES = 10
VIDEO = "bottle-detection.mp4"
BOTTLE = np.s_[80:336, 240:392]
"""Rows and columns of the middle bottle."""
ALIKE = 0.97
"""Correlation with the first frame above which the bottle stands there, and no hand is in the picture."""
EVERY, APART = 6, 400
"""Frames between two pictures, and between those that are learnt and those that are judged."""
SEED = 3


@dataclass(frozen=True)
class GateScore:
    """Of the pictures that were not learnt.

    Attributes:
        decided: share on which the gate is sure.
        missed: share of the bad ones that it passes alone.
        false_alarms: share of the good ones that it fails alone.
        median_ms: of an observation, on the machine that evaluated.
    """

    pictures: int
    auroc: float
    decided: float
    missed: float
    false_alarms: float
    median_ms: float


def score_gate(screws: Sequence[Example], data: Path) -> dict[str, GateScore]:
    """By camera position, and `bottles`."""
    features = PatchFeatures()
    scores = {}
    for position in sorted({example.position for example in screws}):
        examples = [example for example in screws if example.position == position]
        good = [example for example in examples if not example.defects]
        learnt = good[:: max(1, len(good) // GOOD_PICTURES)][:GOOD_PICTURES]
        names = {example.name for example in learnt}
        rest = [example for example in examples if example.name not in names]
        pictures, bad = [example.picture for example in rest], [bool(example.defects) for example in rest]
        scores[position] = _score(features, [example.picture for example in learnt], pictures, bad)
    learnt_bottles, bottles = _bottles(data / "video" / VIDEO)
    rng = np.random.default_rng(SEED)
    flawed = [_flaw(bottle, rng, kind) for kind, bottle in enumerate(bottles)]
    bad = [False] * len(bottles) + [True] * len(flawed)
    scores["bottles"] = _score(features, learnt_bottles, [*bottles, *flawed], bad)
    return scores


def _score(
    features: PatchFeatures, learnt: Sequence[Picture], pictures: Sequence[Picture], bad: Sequence[bool]
) -> GateScore:
    gate = Gate(features, learn(features, learnt).memory)
    seen, milliseconds = [], []
    for picture in pictures:
        started = time.perf_counter()
        seen.append(gate.observe(picture))
        milliseconds.append((time.perf_counter() - started) * 1e3)
    labels = np.asarray(bad)
    verdicts = np.asarray([each.verdict or "" for each in seen])
    return GateScore(
        pictures=len(pictures),
        auroc=round(auroc(np.asarray([each.score for each in seen]), labels), 4),
        decided=round(float((verdicts != "").mean()), 4),
        missed=round(float((verdicts[labels] == "pass").mean()), 4),
        false_alarms=round(float((verdicts[~labels] == "fail").mean()), 4),
        median_ms=round(float(np.median(milliseconds)), 1),
    )


def _bottles(path: Path) -> tuple[list[Picture], list[Picture]]:
    """Ten bottles of the beginning to learn, and others from later in the video."""
    early: list[Picture] = []
    late: list[Picture] = []
    first: Picture | None = None
    for index, frame in enumerate(_frames(path)):
        bottle = np.ascontiguousarray(frame[BOTTLE])
        first = bottle if first is None else first
        if index % EVERY or np.corrcoef(first.ravel(), bottle.ravel())[0, 1] < ALIKE:
            continue
        (early if index < APART else late).append(bottle)
    return early[:: max(1, len(early) // GOOD_PICTURES)][:GOOD_PICTURES], late


def _frames(path: Path) -> Iterator[Picture]:
    """RGB. Raises FileNotFoundError."""
    if not path.exists():
        raise FileNotFoundError(path)
    capture = cv2.VideoCapture(str(path))
    while (read := capture.read())[0]:
        yield np.asarray(read[1][..., ::-1], np.uint8)
    capture.release()


def _flaw(bottle: Picture, rng: np.random.Generator, kind: int) -> Picture:
    """A dark spot, a scratch, or a cap that is not there."""
    flawed = bottle.copy()
    x, y = int(rng.integers(58, 92)), int(rng.integers(100, 210))
    if kind % 3 == 0:
        size = (int(rng.integers(3, 8)), int(rng.integers(3, 8)))
        cv2.ellipse(flawed, (x, y), size, 0, 0, 360, (60, 55, 50), -1, cv2.LINE_AA)
        return flawed
    if kind % 3 == 1:
        end = (x + int(rng.integers(-18, 18)), y + int(rng.integers(12, 34)))
        cv2.line(flawed, (x, y), end, (225, 230, 235), int(rng.integers(1, 3)), cv2.LINE_AA)
        return flawed
    flawed[28:52, 50:100] = flawed[28:52, 2:52]
    return flawed
