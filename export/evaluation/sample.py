"""Make the public cases again from their data sets: `python -m lineside.export.evaluation.sample DATA`.

DATA holds `commands/hwu64_train.jsonl`, `snips_train.jsonl` and `clinc_oos_train.jsonl`. The same DATA gives the same
files. An utterance is taken where its annotation says all that the tool needs, and its values stand in the text.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lineside.export.evaluation.cases import FOLDER, Expected, load_tools
from lineside.export.evaluation.intents import HWU64, NOTHING_FITS, SNIPS, UNCLEAR, Rule, hwu64_slots, snips_slots

SEED = 20
PER_RULE = 10
UNFIT_HWU64 = 50
WITHOUT_ITS_TOOL = 30
CLINC = 50
NEAR = (
    {"play_music", "play_radio", "add_to_playlist", "switch_device", "change_volume"},
    {"switch_lights", "dim_lights", "brighten_lights", "change_light_color", "switch_device"},
    {"get_stock_price", "define_word"},
    {"find_screening", "play_music", "rate_book", "define_word"},
)
"""Tools that one utterance could ask for: where the right one is not on offer, the others are not either."""

ANSWERS = ("get_stock_price", "define_word", "find_screening")

log = logging.getLogger("lineside.evaluation")


@dataclass(frozen=True)
class Said:
    """An utterance and the call that it asks for."""

    text: str
    call: Expected


def said(rows: Sequence[dict[str, Any]], rules: Sequence[Rule], source: str) -> Iterator[list[Said]]:
    """The utterances of each rule that give all arguments which its tool requires."""
    tools = load_tools("public").tools
    slots_of = hwu64_slots if source == "hwu64" else snips_slots
    for rule in rules:
        found: dict[str, Said] = {}
        for row in rows:
            text = " ".join(row["text"].split())
            if row["intent"] == rule.intent and text.casefold() not in found:
                call = rule.call(text, slots_of(row))
                if call is not None and set(tools[rule.tool].parameters["required"]) <= call.arguments.keys():
                    found[text.casefold()] = Said(text, call)
        yield list(found.values())


def sample(data: Path) -> dict[str, list[dict[str, Any]]]:
    """The lines of each file in `commands/` that comes from a public data set."""
    rng = np.random.default_rng(SEED)
    names = list(load_tools("public").tools)
    lines: dict[str, list[dict[str, Any]]] = {}
    for source, rules in (("hwu64", HWU64), ("snips", SNIPS)):
        rows = _read(data, source)
        taken: list[dict[str, Any]] = []
        left: list[Said] = []
        for usable in said(rows, rules, source):
            order = [usable[int(at)] for at in rng.permutation(len(usable)) if usable[int(at)].text not in UNCLEAR]
            taken += [_line(one.text, _offer(rng, names, one.call.name), one.call) for one in order[:PER_RULE]]
            left += order[PER_RULE : PER_RULE + WITHOUT_ITS_TOOL // 4]
        for at in rng.permutation(len(left))[:WITHOUT_ITS_TOOL]:
            taken.append(_line(left[int(at)].text, _others(rng, names, left[int(at)].call.name), None))
        if source == "hwu64":
            unfit = [" ".join(row["text"].split()) for row in rows if row["intent"] in NOTHING_FITS]
            taken += _unfit(rng, names, unfit, UNFIT_HWU64)
        lines[source] = taken
    lines["clinc"] = _unfit(rng, names, [row["text"] for row in _read(data, "clinc_oos")], CLINC)
    return lines


def _read(data: Path, name: str) -> list[dict[str, Any]]:
    content = (data / "commands" / f"{name}_train.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in content.splitlines()]


def _line(text: str, tools: list[str], call: Expected | None) -> dict[str, Any]:
    line: dict[str, Any] = {"text": text, "tools": tools, "call": None}
    if call is not None:
        line["call"] = {"name": call.name, "arguments": dict(call.arguments)}
        if call.accept:
            line["accept"] = dict(call.accept)
    return line


def _unfit(rng: np.random.Generator, names: list[str], texts: Sequence[str], count: int) -> list[dict[str, Any]]:
    """Utterances that no tool fits, but those that answer questions might: they are not on offer."""
    distinct = sorted(set(texts))
    order = [distinct[int(at)] for at in rng.permutation(len(distinct)) if _usable(distinct[int(at)])]
    tools = [name for name in names if name not in ANSWERS]
    return [_line(text, _choose(rng, tools), None) for text in order[:count]]


def _usable(text: str) -> bool:
    """No address of a person."""
    return text not in UNCLEAR and "@" not in text


def _offer(rng: np.random.Generator, names: list[str], right: str) -> list[str]:
    """The right tool among two to five that do not fit; near ones come along where they clearly do something else."""
    others = _choose(rng, [name for name in names if name not in _near(right)], fewest=2, most=5)
    return [str(name) for name in rng.permutation([right, *others])]


def _others(rng: np.random.Generator, names: list[str], missing: str) -> list[str]:
    return _choose(rng, [name for name in names if name not in _near(missing)])


def _near(name: str) -> set[str]:
    return {name}.union(*(group for group in NEAR if name in group))


def _choose(rng: np.random.Generator, names: list[str], fewest: int = 3, most: int = 6) -> list[str]:
    count = int(rng.integers(fewest, most + 1))
    return [names[int(at)] for at in rng.permutation(len(names))[:count]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--target", type=Path, default=FOLDER / "commands")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    for source, lines in sample(arguments.data).items():
        numbered = ({"id": f"{source}-{number:03}", **line} for number, line in enumerate(lines, start=1))
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in numbered)
        (arguments.target / f"{source}.jsonl").write_text(text, encoding="utf-8")
        log.info("%s: %d cases", source, len(lines))


if __name__ == "__main__":
    main()
