"""What comes out of a comparison."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from lineside.edge.comparison.side import Looked, Memory
from lineside.runtime.agreement.tokens import TokenAgreement
from lineside.runtime.inspection.overlap import Matches, match

LEAST_IOU = 0.5
"""Two boxes with less overlap are not the same."""


@dataclass
class Measured:
    """Of one model. Speeds are of each round, in tokens a second.

    Attributes:
        disk_bytes: of all files of the bundle.
        device: what it ran on.
        looked: at each picture, in their order.
    """

    label: str
    path: Path
    name: str
    sha256: str
    disk_bytes: int
    device: str = ""
    prefill: list[float] = field(default_factory=list)
    decode: list[float] = field(default_factory=list)
    looked: list[Looked] = field(default_factory=list)
    memory: Memory = field(default_factory=lambda: Memory(None, None))


@dataclass(frozen=True)
class PictureAgreement:
    """What B, the candidate, says of pictures beside what A says, whose boxes stand for the labels.

    Attributes:
        same: pictures with the same verdict.
        boxes: matched one to one, of the same type, with an intersection over union of `LEAST_IOU` or more.
        differing: names of the pictures with another verdict, with that of A and of B.
        cut_off: pictures of which at least one answer did not come to its end.
    """

    pictures: int
    same: int
    boxes: Matches
    differing: tuple[tuple[str, str, str], ...]
    cut_off: int

    @property
    def boxes_a(self) -> int:
        return self.boxes.found + self.boxes.missed

    @property
    def boxes_b(self) -> int:
        return self.boxes.found + self.boxes.spurious

    @property
    def f1(self) -> float | None:
        """None where neither model draws a box."""
        return self.boxes.f1 if self.boxes_a + self.boxes_b else None

    @property
    def mean_iou(self) -> float | None:
        """Of the boxes that match; None where none does."""
        return self.boxes.overlap / self.boxes.found if self.boxes.found else None


@dataclass(frozen=True)
class Comparison:
    """`pictures` is None where a model takes none; `in_turn`: speeds were taken turn about, else A's before B's."""

    a: Measured
    b: Measured
    tokens: TokenAgreement
    pictures: PictureAgreement | None
    in_turn: bool
    notes: tuple[str, ...]


def agreement_on_pictures(paths: list[Path], a: list[Looked], b: list[Looked]) -> PictureAgreement:
    pairs = list(zip(a, b, strict=True))
    differing = tuple(
        (path.name, one.verdict, other.verdict)
        for path, (one, other) in zip(paths, pairs, strict=True)
        if one.verdict != other.verdict
    )
    return PictureAgreement(
        len(paths),
        len(paths) - len(differing),
        sum((match(one.defects, other.defects, LEAST_IOU) for one, other in pairs), Matches()),
        differing,
        sum(not (one.complete and other.complete) for one, other in pairs),
    )
