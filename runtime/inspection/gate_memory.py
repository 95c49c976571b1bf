"""What a gate remembers of good pictures, and how it is learnt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from lineside.runtime.chat import Picture
from lineside.runtime.errors import TooFewPictures
from lineside.runtime.inspection.gate_thresholds import FALSE_ALARMS, suspicious, thresholds

if TYPE_CHECKING:
    from lineside.runtime.sessions.patch_features import PatchFeatures

Floats = npt.NDArray[np.float32]
MIN_PICTURES = 5
WORST_PATCHES = 3
"""A picture is as unusual as its most unusual patches are on average."""
MAX_PATCHES = 4000
"""That are remembered: the search through them takes as long as they are many."""
MAX_CANDIDATES = 24000
"""Among which these are chosen."""
SKETCH = 24
"""Random directions in which patches are compared while the most different ones are chosen."""
NEVER = 1e12
"""A squared length that nothing is near to."""


@dataclass(frozen=True)
class GateMemory:
    """What was learnt of the good pictures.

    Attributes:
        patches: `(M, 152)`, features of patches of good pictures.
        good_scores: of each good picture that was learnt, held against the others.
        bad_scores: of the bad pictures that were shown; may be none.
        pass_below, fail_above: scores up to which the gate passes and from which it fails.
        false_alarms: the share of good pictures that may fail, as the user asked for.
        features_sha256: of the network that described the patches.
    """

    patches: Floats
    good_scores: Floats
    bad_scores: Floats
    pass_below: float
    fail_above: float
    false_alarms: float
    features_sha256: str


@dataclass(frozen=True)
class Learnt:
    """A memory, and what its making showed.

    Attributes:
        scores: of all good pictures, also of those that were left out.
        heats: the same of every patch, `(rows, columns)`, each picture held against the others.
        left_out: indices of good pictures that stand out so far that they were not learnt, the oddest first.
        auroc: of the bad pictures against the good ones; NaN without.
        apart: False where the bad pictures that were shown cannot be told from the good ones.
    """

    memory: GateMemory
    scores: Floats
    heats: list[Floats]
    left_out: list[int]
    auroc: float
    apart: bool


def learn(
    features: PatchFeatures,
    good: Sequence[Picture],
    bad: Sequence[Picture] = (),
    false_alarms: float = FALSE_ALARMS,
) -> Learnt:
    """Remember good pictures, and how unlike each other they are.

    A good picture that stands out far among the others is left out: it may be a bad one, and the gate would pass all
    that are like it.

    Raises:
        TooFewPictures: fewer than `MIN_PICTURES` that differ.
    """
    different = len({(picture.shape, picture.tobytes()) for picture in good})
    if different < MIN_PICTURES:
        raise TooFewPictures(
            f"{different} different good pictures; at least {MIN_PICTURES} are needed, 10 are better, of several parts"
        )
    described = [features.describe(picture) for picture in good]
    patches, owners = remembered(described)
    heats = held_against_others(features, described, patches, owners)
    left_out = suspicious(scores_of(heats))
    kept = [at for at in range(len(good)) if at not in left_out]
    if left_out:
        patches, owners = remembered([described[at] for at in kept])
        again = held_against_others(features, [described[at] for at in kept], patches, owners)
        for at, heat in zip(kept, again, strict=True):
            heats[at] = heat
    squares = np.square(patches).sum(1)
    for at in left_out:
        heats[at] = features.distances(described[at], patches, squares)
    bad_scores = scores_of([features.distances(features.describe(picture), patches, squares) for picture in bad])
    scores = scores_of(heats)
    own = scores[kept]
    ends = thresholds(own, bad_scores, false_alarms)
    memory = GateMemory(patches, own, bad_scores, ends.pass_below, ends.fail_above, false_alarms, features.sha256)
    return Learnt(memory, scores, heats, left_out, ends.auroc, ends.apart)


def remembered(described: Sequence[Floats]) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Patches `(M, 152)` that cover all others best, and the picture of each: PatchCore's coreset (Roth et al., 2022),
    chosen by the greedy search for what is farthest from all chosen."""
    patches = np.concatenate([flat(one) for one in described])
    owners = np.repeat(np.arange(len(described)), [one.shape[0] * one.shape[1] for one in described])
    rng = np.random.default_rng(0)
    if len(patches) > MAX_CANDIDATES:
        some = np.sort(rng.permutation(len(patches))[:MAX_CANDIDATES])
        patches, owners = patches[some], owners[some]
    if len(patches) <= MAX_PATCHES:
        return np.ascontiguousarray(patches), owners
    directions = rng.normal(size=(patches.shape[1], SKETCH)).astype(np.float32)
    sketch = patches @ directions
    squares = np.square(sketch).sum(1)
    away = np.full(len(patches), np.inf, np.float32)
    chosen = [0]
    while len(chosen) < MAX_PATCHES:
        last = chosen[-1]
        np.minimum(away, squares - 2 * (sketch @ sketch[last]) + squares[last], out=away)
        away[last] = -np.inf
        chosen.append(int(away.argmax()))
    kept = np.sort(chosen)
    return np.ascontiguousarray(patches[kept]), owners[kept]


def held_against_others(
    features: PatchFeatures, described: Sequence[Floats], patches: Floats, owners: npt.NDArray[np.int64]
) -> list[Floats]:
    """The heat of each picture, without what is remembered of itself."""
    squares = np.square(patches).sum(1)
    return [
        features.distances(one, patches, np.where(owners == at, np.float32(NEVER), squares))
        for at, one in enumerate(described)
    ]


def scores_of(heats: Sequence[Floats]) -> Floats:
    return np.asarray([picture_score(heat) for heat in heats], np.float32)


def picture_score(heat: Floats) -> float:
    """Mean of the most unusual patches."""
    return float(np.sort(heat, axis=None)[-WORST_PATCHES:].mean())


def flat(described: Floats) -> Floats:
    """`(rows, columns, D)` to `(N, D)`."""
    return np.ascontiguousarray(described.reshape(-1, described.shape[-1]))
