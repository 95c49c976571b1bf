"""`lineside calibrate --commands`: labelled sentences of a station in, the confidence of calls put right."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from lineside.edge.commands.deciding import declared
from lineside.edge.config import Config
from lineside.edge.errors import ConfigError
from lineside.edge.models import open_for_commands
from lineside.edge.progress import progress
from lineside.edge.trust_file import TrustFile, tools_digest, write_trust
from lineside.edge.wire.messages import now
from lineside.runtime.chat import Message, ToolCall
from lineside.runtime.commands.decide import Ask, Decider
from lineside.runtime.commands.heard import hear
from lineside.runtime.commands.trust import Trust, enough
from lineside.runtime.engine.engine import Engine
from lineside.runtime.engine.sampling import GREEDY
from lineside.runtime.errors import NotSeparable
from lineside.runtime.inspection.calibration import MIN_PER_CLASS, Floats, Labels, cross_validated, fit

FORM = 'a line is {"text": "stop the line", "right": {"stop_line": {}}}, or has null for `right` where nothing fits'


class Sentence(BaseModel):
    """A line of the file: what is said, and the calls that are right by tool; None where none is."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    text: str
    right: dict[str, dict[str, Any]] | None


@dataclass(frozen=True)
class Acted:
    """What a station would have done with the sentences."""

    right: int
    wrong: int
    refused: int


@dataclass(frozen=True)
class CommandReport:
    """What came out. `after` is cross-validated: each sentence is judged by a fit that has not seen it."""

    sentences: int
    fitted: TrustFile
    least: float
    before: Acted
    after: Acted
    path: Path

    def lines(self) -> list[str]:
        """For the terminal."""
        before, after = self.before, self.after
        rows = (
            ("", "before", "after"),
            ("acted right", before.right, after.right),
            ("acted wrongly", before.wrong, after.wrong),
            ("refused", before.refused, after.refused),
        )
        return [
            f"sentences   {self.sentences}",
            f"fitted      scale {self.fitted.scale:.3f}, offset {self.fitted.offset:+.3f}; "
            f"a call is made from {self.least:.3f} on",
            "",
            *(f"{name:<18}{first:>10}{then:>10}" for name, first, then in rows),
            "",
            "After: cross-validated, each sentence judged by a fit that has not seen it.",
            f"written     {self.path}",
        ]


def calibrate_commands(config: Config, file: Path) -> CommandReport:
    """Put each sentence to the model, fit, and write the file into the data folder. Nothing is called.

    Raises:
        ConfigError: the station has no tools; the file is not as it should be, or has too few sentences.
        EngineError: see `runtime.errors`.
    """
    if not config.tools:
        raise ConfigError("the station has no tools: there is nothing to calibrate")
    sentences = read_sentences(file, list(config.tools))
    engine = open_for_commands(config)
    probabilities, right = _scores(config, engine, sentences)
    for kind, count in (("right", int(right.sum())), ("wrong", int((~right).sum()))):
        if count < MIN_PER_CLASS:
            raise ConfigError(
                f"{file}: {count} calls that the other checks let through are {kind}, and at least {MIN_PER_CLASS} "
                f"are needed: add sentences that {'a tool fits' if kind == 'right' else 'are hard, or that none fits'}"
            )
    try:
        fitted, after = fit(probabilities, right), cross_validated(probabilities, right)
    except NotSeparable as error:
        raise ConfigError(f"{file}: the confidence does not rise with what is right: check the labels") from error
    entry = TrustFile(
        scale=fitted.scale,
        offset=fitted.offset,
        sentences=len(sentences),
        right_calls=int(right.sum()),
        wrong_calls=int((~right).sum()),
        bundle_sha256=engine.bundle.sha256,
        tools_sha256=tools_digest(config.tools),
        fitted_at=now(),
    )
    write_trust(config.commands_path, entry)
    least = enough(config.commands.wrong_call_costs)
    sides = [_acted(of, right, least, len(sentences)) for of in (probabilities, after)]
    return CommandReport(len(sentences), entry, least, sides[0], sides[1], config.commands_path)


def read_sentences(file: Path, tools: Sequence[str]) -> list[Sentence]:
    """The lines of a JSONL file. Raises ConfigError where one is not as it should be, or names no tool."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} cannot be read: {error}") from error
    found = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            sentence = Sentence.model_validate_json(line)
        except ValidationError:
            raise ConfigError(f"{file}, line {number}: {FORM}") from None
        if unknown := sorted(set(sentence.right or {}) - set(tools)):
            raise ConfigError(f"{file}, line {number}: the station has no tool {unknown[0]}; it has {', '.join(tools)}")
        found.append(sentence)
    if not found:
        raise ConfigError(f"{file} has no sentences: {FORM}")
    return found


def _scores(config: Config, engine: Engine, sentences: Sequence[Sentence]) -> tuple[Floats, Labels]:
    """Of each answer whose calls pass all other checks: its confidence, and whether it is right."""
    tools = declared(config, engine)
    decider = Decider(engine, tools, config.commands.system, Trust(enough=0.0), config.commands.tools_at_once)
    how = Ask(config.model.max_tokens, GREEDY, call_above=config.commands.call_above)
    scores, labels = [], []
    for sentence in progress(sentences, "sentences"):
        messages = [Message("system", (config.commands.system,)), Message("user", (sentence.text,))]
        decision = decider.decide(messages, hear(sentence.text), "auto", how)
        if decision.doubt is None and decision.sure is not None:
            scores.append(decision.sure)
            labels.append(_is_right(decision.answer.calls, sentence.right))
    return np.asarray(scores, np.float64), np.asarray(labels, np.bool_)


def _is_right(calls: Sequence[ToolCall], right: Mapping[str, Mapping[str, Any]] | None) -> bool:
    """Texts are compared without regard to case."""
    made = {call.name: _comparable(call.arguments) for call in calls}
    return len(made) == len(calls) and made == {name: _comparable(given) for name, given in (right or {}).items()}


def _comparable(arguments: Mapping[str, Any]) -> str:
    return json.dumps(dict(arguments), sort_keys=True, ensure_ascii=False).casefold()


def _acted(probabilities: Floats, right: Labels, least: float, sentences: int) -> Acted:
    made = probabilities >= least
    return Acted(int((made & right).sum()), int((made & ~right).sum()), sentences - int(made.sum()))
