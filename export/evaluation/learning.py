"""Learn parts that no training saw, from few good pictures, and judge what is left: how the gate's verdicts hold.

    python -m lineside.export.evaluation.learning DATA --rows rows.jsonl

`DATA` holds `figures/`, `ballscrew/` and `pcb/`, laid out as CONTRIBUTING says. Rows that the file has already are not
computed again. It prints a table in Markdown: means over the draws.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lineside.export.evaluation.unseen_parts import Part, parts
from lineside.runtime.chat import Picture
from lineside.runtime.inspection.gate import Gate
from lineside.runtime.inspection.gate_memory import learn
from lineside.runtime.sessions.patch_features import PatchFeatures

SETTINGS = ((5, 0, 0), (10, 0, 0), (20, 0, 0), (18, 2, 0), (20, 0, 5))
"""Good pictures that are learnt, bad ones among them that nobody noticed, and bad ones that are shown as such."""
DRAWS = 5


@dataclass(frozen=True)
class Row:
    """Shares of the pictures that were not learnt."""

    part: str
    good: int
    bad: int
    draw: int
    auroc: float
    broken_passed: float
    good_failed: float
    unsure: float
    bad_left_out: int
    good_left_out: int
    shown: int = 0


def judge(features: PatchFeatures, name: str, part: Part, setting: tuple[int, int, int], draw: int) -> Row:
    """One draw."""
    good, broken = part
    rng = np.random.default_rng(draw)
    order, slipped = rng.permutation(len(good)), rng.permutation(len(broken))
    learnt_good, rest = order[: setting[0]], order[setting[0] :]
    shown = [good[at] for at in learnt_good] + [broken[at] for at in slipped[: setting[1]]]
    first = setting[1] + setting[2]
    learnt = learn(features, shown, [broken[at] for at in slipped[setting[1] : first]])
    gate = Gate(features, learnt.memory)
    usual, usual_verdicts = _seen(gate, [good[at] for at in rest])
    odd, odd_verdicts = _seen(gate, [broken[at] for at in slipped[first:]])
    out_bad = sum(at >= setting[0] for at in learnt.left_out)
    return Row(
        name,
        setting[0],
        setting[1],
        draw,
        auroc=round(float((odd[:, None] > usual[None]).mean() + (odd[:, None] == usual[None]).mean() / 2), 4),
        broken_passed=round(float((odd_verdicts == "pass").mean()), 4),
        good_failed=round(float((usual_verdicts == "fail").mean()), 4),
        unsure=round(float((np.concatenate([usual_verdicts, odd_verdicts]) == "unsure").mean()), 4),
        bad_left_out=out_bad,
        good_left_out=len(learnt.left_out) - out_bad,
        shown=setting[2],
    )


def _seen(gate: Gate, pictures: Sequence[Picture]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    seen = [gate.observe(picture) for picture in pictures]
    return np.asarray([one.score for one in seen]), np.asarray([one.verdict or "unsure" for one in seen])


class Remembering(PatchFeatures):
    """Describes each picture once: the draws share them."""

    def __init__(self) -> None:
        super().__init__()
        self._described: dict[int, tuple[Picture, npt.NDArray[Any]]] = {}

    def describe(self, picture: Picture) -> npt.NDArray[Any]:
        if id(picture) not in self._described:
            self._described[id(picture)] = (picture, super().describe(picture))
        return self._described[id(picture)][1]


def rows(data: Path, path: Path, draws: int) -> Iterator[Row]:
    """Those of the file, and what is missing there."""
    done = {}
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            kept = Row(**json.loads(line))
            done[kept.part, kept.good, kept.bad, kept.shown, kept.draw] = kept
    for name, read in parts(data).items():
        features: PatchFeatures | None = None
        part: Part | None = None
        for setting in SETTINGS:
            for draw in range(draws):
                row = done.get((name, *setting, draw))
                if row is None:
                    features, part = features or Remembering(), part or read()
                    row = judge(features, name, part, setting, draw)
                    with path.open("a", encoding="utf-8") as file:
                        file.write(json.dumps(asdict(row)) + "\n")
                yield row


def table(found: Sequence[Row]) -> str:
    """Markdown: a line for each part and setting, and for the mean of all parts."""
    lines = [
        "| part | good learnt | AUROC | broken passed | good failed | unsure |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    names = list(dict.fromkeys(row.part for row in found))
    for setting in SETTINGS:
        chosen = [row for row in found if (row.good, row.bad, row.shown) == setting]
        count = f"{setting[0]}" + (f", {setting[1]} bad among them" if setting[1] else "")
        count += f", {setting[2]} bad shown" if setting[2] else ""
        for name in names:
            lines.append(_line(name, count, [row for row in chosen if row.part == name]))
        lines.append(_line("**all parts**", count, chosen))
    return "\n".join(lines)


def _line(name: str, count: str, found: Sequence[Row]) -> str:
    values: Mapping[str, float] = {
        key: float(np.mean([getattr(row, key) for row in found])) if found else float("nan")
        for key in ("auroc", "broken_passed", "good_failed", "unsure")
    }
    shares = " | ".join(f"{100 * values[key]:.1f} %" for key in ("broken_passed", "good_failed", "unsure"))
    return f"| {name} | {count} | {values['auroc']:.3f} | {shares} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--rows", type=Path, default=Path("learning.jsonl"), help="where the rows are kept")
    parser.add_argument("--draws", type=int, default=DRAWS)
    parser.add_argument("--out", type=Path, default=Path("learning.md"), help="where the table goes")
    options = parser.parse_args()
    options.out.write_text(table(list(rows(options.data, options.rows, options.draws))) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
