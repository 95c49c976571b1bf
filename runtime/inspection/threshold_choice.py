"""Thresholds from labelled pictures and from what mistakes cost: no verdict that is not worth more than a look.

A zone is all pictures up to a probability (`pass`) or from one on (`fail`). Where `k` of its `n` pictures are wrong,
the next one is taken to be wrong with a probability of `(k + 1.6) / (n + 3.2)`: without a mistake among many, that is
what the true rate stays below in four of five cases. So a zone must be large before it costs less than looks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lineside.runtime.inspection.calibration import Costs, Decisions, Floats, Labels, decide, folds_of

LOOK_AT_EACH = (-1.0, 2.0)
"""Thresholds that no probability reaches: every picture is `unsure`."""
PRIOR = 1.6
"""`-log(0.2)`: mistakes that are taken to have been missed by chance; 1.6 right ones go with them."""
FACTORS = (1.25, 1.5, 2.0, 3.0, 4.0, 6.0, 10.0)
"""How many times as many pictures a forecast is made for."""
WORTH = 0.1
"""A change of the cost by less than this share of a look is not worth further pictures."""


@dataclass(frozen=True)
class Zones:
    """Thresholds on the model's own probability, and the expected cost of a picture in false alarms."""

    pass_below: float
    fail_above: float
    cost: float = math.nan

    @property
    def thresholds(self) -> tuple[float, float]:
        return self.pass_below, self.fail_above

    @property
    def passes(self) -> bool:
        """Whether any picture passes."""
        return self.pass_below >= 0

    @property
    def fails(self) -> bool:
        """Whether any picture fails."""
        return self.fail_above <= 1


def choose(probabilities: Floats, defective: Labels, abstained: Labels, costs: Costs, factor: float = 1.0) -> Zones:
    """The cheapest zones; those that do not pay are left out, and their pictures are `unsure`.

    Args:
        probabilities: of a defect, by the model, `(N,)`.
        abstained: pictures on which the model itself says `unsure`, whatever the thresholds, `(N,)`.
        factor: as if each picture were there so many times.
    """
    order = np.argsort(probabilities[~abstained], kind="stable")
    p, bad = probabilities[~abstained][order], defective[~abstained][order]
    size = len(p)
    number = np.arange(size + 1)
    misses = np.concatenate([[0], np.cumsum(bad)])
    alarms = np.concatenate([np.cumsum(~bad[::-1])[::-1], [0]])
    saved_low = _risk(number, misses, factor) * costs.missed_defect - number * costs.look
    saved_high = _risk(size - number, alarms, factor) - (size - number) * costs.look
    cut = np.ones(size + 1, bool)  # no threshold parts pictures of one probability
    cut[1:size] = p[1:] > p[:-1]
    saved_low[~cut], saved_high[~cut] = np.inf, np.inf
    best_high = size - np.asarray([_first_least(saved_high[start:][::-1]) for start in range(size + 1)])
    low = _first_least(saved_low + saved_high[best_high])
    high = int(best_high[low])
    cost = (saved_low[low] + saved_high[high]) / len(probabilities) + costs.look
    return Zones(
        float(p[low - 1]) if low else LOOK_AT_EACH[0],
        float(p[high]) if high < size else LOOK_AT_EACH[1],
        float(cost),
    )


def held_out(probabilities: Floats, defective: Labels, abstained: Labels, costs: Costs) -> Decisions:
    """What thresholds decide that were chosen without the picture that they judge."""
    fold = folds_of(defective)
    parts = []
    for index in np.unique(fold):
        own = fold == index
        zones = choose(probabilities[~own], defective[~own], abstained[~own], costs)
        parts.append(decide(probabilities[own], defective[own], zones.thresholds, costs, abstained[own]))
    return Decisions.of(
        sum(part.passed for part in parts),
        sum(part.missed for part in parts),
        sum(part.failed for part in parts),
        sum(part.false_alarms for part in parts),
        sum(part.unsure for part in parts),
        costs,
    )


def fewest(costs: Costs) -> tuple[int, int]:
    """How many pictures without a mistake a `pass` zone and a `fail` zone need before they cost less than looks."""
    return _fewest(costs.look / costs.missed_defect), _fewest(costs.look)


def forecast(
    probabilities: Floats, defective: Labels, abstained: Labels, costs: Costs
) -> tuple[float, tuple[int, float] | None]:
    """The expected cost of a picture with these pictures; and how many further ones like them bring it down to what,
    None where ten times as many would not.
    """
    own = choose(probabilities, defective, abstained, costs).cost
    for factor in FACTORS:
        cost = choose(probabilities, defective, abstained, costs, factor).cost
        if own - cost >= WORTH * costs.look:
            return own, (math.ceil((factor - 1) * len(probabilities)), cost)
    return own, None


def _fewest(rate: float) -> int:
    return max(1, math.floor(PRIOR / rate - 2 * PRIOR) + 1)


def _risk(number: npt.ArrayLike, wrong: npt.ArrayLike, factor: float = 1.0) -> Floats:
    """Expected mistakes among `number` pictures of a zone that has `wrong` ones."""
    n, k = np.asarray(number, float), np.asarray(wrong, float)
    return np.asarray(n * (k * factor + PRIOR) / (n * factor + 2 * PRIOR))


def _first_least(values: Floats) -> int:
    return int(np.argmin(values))
