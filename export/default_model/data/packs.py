"""Commands packed for training: one list of tools, and many commands that are put to it side by side.

A tool list is ten times as long as a command. A pack computes it once: behind the list stand the commands with their
answers, each of which sees the list and itself, at the positions that it would have if it stood there alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lineside.export.default_model.data import commands
from lineside.export.default_model.data.machine_tools import line_offer, machine_offer
from lineside.export.default_model.data.offers import LANGUAGE_ODDS, LANGUAGES, Offer
from lineside.export.default_model.data.pack import Pack, branch, joined, shared
from lineside.export.default_model.data.spoken_tools import merged_offer, spoken_offer, utterances
from lineside.export.default_model.data.written_tools import written_offer, written_tools
from lineside.runtime.chat import Message, Tool, ToolCall
from lineside.runtime.text.tokenizer import Tokenizer

SYSTEMS = (
    commands.SYSTEM_TEXT,
    "You control a machine. Call a function, or say that none fits.",
    "You control a home and answer on a few services. Call a function, or say that none fits.",
    "You help the driver of a vehicle. Call a function, or say that none fits.",
    "You are an assistant. Use the tools where one fits.",
    "Call the right function for the command. Where none fits, say so.",
    "",
)
COMMANDS_PER_PACK = 32
OUT_OF_SCOPE = 0.22
TWO_CALLS = 0.03
MOST_TOKENS = 2400
LONG_ODDS = 0.22
WRITTEN_ODDS, ONE_DOMAIN_ODDS, MERGED_ODDS = 0.3, 0.5, 0.4
FIRST_WEIGHT, QUIET_WEIGHT, DIGIT_WEIGHT = 3.0, 15.0, 2.0
"""Of the token that decides for a call, of the one that decides against: a wrong call costs five missed ones."""
CHATTER = ("general_quirky", "general_praise", "general_explain", "general_repeat", "general_affirm", "general_negate")


@dataclass(frozen=True)
class Line:
    """A command with its answer: calls, or none where no tool fits."""

    text: str
    calls: tuple[ToolCall, ...]


class Packer:
    """Draws packs. `folder` holds the public data sets."""

    def __init__(self, folder: Path, tokenizer: Tokenizer) -> None:
        self._folder, self._tokenizer = folder, tokenizer
        self._free, self._written_free = commands.out_of_scope(folder), commands.written_out_of_scope()
        self._inst, self._end_inst = (tokenizer.special_id(name) for name in ("[INST]", "[/INST]"))
        self._digits = np.asarray([tokenizer.encode_text(str(digit))[-1] for digit in range(10)])

    def draw(self, rng: np.random.Generator, count: int = COMMANDS_PER_PACK) -> Pack:
        """Tools, and `count` commands to them."""
        offers, missing = self._offers(rng)
        lines = [self._line(offers, missing, rng) for _ in range(count)]
        system = str(rng.choice(SYSTEMS))
        return self.pack(system, [offer.tool for offer in offers], lines)

    def pack(self, system: str, tools: Sequence[Tool], lines: Sequence[Line]) -> Pack:
        """Lay commands out behind their tools; those for which there is no room are left out."""
        messages = [Message("system", (system,))] if system else []
        prompt = self._tokenizer.encode_chat([*messages, Message("user", (lines[0].text,))], tools).ids
        start = int(np.flatnonzero(prompt == self._inst)[-1])
        parts = [shared(prompt[:start])]
        for number, line in enumerate(lines):
            part = self._branch(line, number, start)
            if sum(len(p.ids) for p in parts) + len(part.ids) > MOST_TOKENS and number > 0:
                break
            parts.append(part)
        return joined(parts)

    def _branch(self, line: Line, number: int, start: int) -> Pack:
        tokenizer = self._tokenizer
        question = [self._inst, *tokenizer.encode_text(line.text), self._end_inst]
        body = tokenizer.encode_answer("" if line.calls else commands.NO_TOOL_TEXT, line.calls)
        answer = np.asarray([*body, tokenizer.eos_id], np.int64)
        weights = np.where(np.isin(answer, self._digits), DIGIT_WEIGHT, 1.0)
        weights[0] = FIRST_WEIGHT if line.calls else QUIET_WEIGHT
        return branch(np.asarray(question, np.int64), answer, weights, number, start)

    def _offers(self, rng: np.random.Generator) -> tuple[list[Offer], list[Offer]]:
        """Those of a station, and others that it might have but has not."""
        draw = rng.random()
        count = int(rng.integers(9, 16) if rng.random() < LONG_ODDS else rng.integers(3, 10))
        if draw < WRITTEN_ODDS:
            return _written(count, rng)
        kinds = {
            "public": lambda: (merged_offer if rng.random() < MERGED_ODDS else spoken_offer)(self._folder, rng),
            "machine": lambda: machine_offer(rng),
            "line": lambda: line_offer(rng),
        }
        odds = (draw - WRITTEN_ODDS) / (1 - WRITTEN_ODDS)
        names = (
            ["public"] if odds < 0.8 else ["machine"] if odds < 0.88 else ["line"] if odds < 0.93 else list(kinds)[:2]
        )
        offers: list[Offer] = []
        for _ in range(count * 3):
            offer = kinds[str(rng.choice(names))]()
            if len(offers) < count and _fits(offer, offers):
                offers.append(offer)
        return offers, []

    def _line(self, offers: Sequence[Offer], missing: Sequence[Offer], rng: np.random.Generator) -> Line:
        if rng.random() < OUT_OF_SCOPE:
            return Line(self._nothing_fits(offers, missing, rng), ())
        asked = [self._ask(offers, rng)]
        if rng.random() < TWO_CALLS:
            asked.append(self._ask(offers, rng))
        text = " and ".join(text for text, _ in asked)
        return Line(text, tuple(call for _, call in asked))

    def _ask(self, offers: Sequence[Offer], rng: np.random.Generator) -> tuple[str, ToolCall]:
        while True:
            offer = offers[int(rng.integers(len(offers)))]
            said = _say(offer, rng)
            if said is not None:
                return said[0], ToolCall(commands.CALL_ID, offer.tool.name, said[1])

    def _nothing_fits(self, offers: Sequence[Offer], missing: Sequence[Offer], rng: np.random.Generator) -> str:
        """A command for a tool that is not on offer, or something that no tool is for."""
        draw = rng.random()
        if draw < 0.35:
            free = self._written_free if draw < 0.25 else self._free
            return free[int(rng.integers(len(free)))]
        if draw < 0.4:
            rows = utterances(self._folder)[str(rng.choice(CHATTER))]
            return rows[int(rng.integers(len(rows)))].text
        while True:
            if missing and draw < 0.8:
                other = missing[int(rng.integers(len(missing)))]
            else:
                other = spoken_offer(self._folder, rng) if rng.random() < 0.6 else machine_offer(rng)
                if any(other.clashes(offer) or _same_thing(other, offer) for offer in offers):
                    continue
            said = _say(other, rng)
            if said is not None:
                return said[0]


def _written(count: int, rng: np.random.Generator) -> tuple[list[Offer], list[Offer]]:
    """Of one domain, or of one file with its several domains: tools that are on offer, and some that are not."""
    rows = list(written_tools().values())[int(rng.integers(len(written_tools())))]
    if rng.random() < ONE_DOMAIN_ODDS:
        domain = rows[int(rng.integers(len(rows)))]["domain"]
        rows = [row for row in rows if row["domain"] == domain]
        count = min(count, len(rows) - 1)
    drawn = [written_offer(rows[int(at)], rng) for at in rng.permutation(len(rows))[: count + 3]]
    return drawn[:count], drawn[count:]


def _fits(offer: Offer, offers: Sequence[Offer]) -> bool:
    return all(offer.tool.name != other.tool.name and not offer.clashes(other) for other in offers)


def _say(offer: Offer, rng: np.random.Generator) -> tuple[str, dict[str, Any]] | None:
    language = str(rng.choice(LANGUAGES, p=LANGUAGE_ODDS))
    return offer.say(rng, language) or offer.say(rng, "en")


def _same_thing(a: Offer, b: Offer) -> bool:
    """Half the time another function of a thing on offer would be close enough to be called; those are left out."""
    return bool({t.partition("/")[0] for t in a.topics} & {t.partition("/")[0] for t in b.topics})
