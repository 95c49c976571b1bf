"""`lineside say`: what a sentence would do, by whom and why; or a table for a file of sentences."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lineside.edge.command_line.fail import fail

if TYPE_CHECKING:
    from lineside.edge.commands.rehearsal import Rehearsal, Told
    from lineside.edge.config import Config
    from lineside.runtime.engine.engine import Engine

UNKNOWN = object()
"""In place of what would be right, where nobody has said it."""


@dataclass(frozen=True)
class Asked:
    """A sentence of a file; `right` is a call, None for none, or `UNKNOWN`."""

    text: str
    right: Any = UNKNOWN


def say(options: argparse.Namespace) -> int:
    """0 where it was told; with `--all`, 1 where a sentence would act and should not, or act otherwise."""
    from lineside.edge.command_line.devices import with_known_devices
    from lineside.edge.commands.phrases.phrasing import without_phrases
    from lineside.edge.commands.rehearsal import Rehearsal
    from lineside.edge.station_file import load_config

    if bool(options.text) == (options.all is not None):
        return fail('give one sentence, `lineside say STATION "text"`, or a file of them with --all', 2)
    path = options.station / "station.toml" if options.station.is_dir() else options.station
    config = with_known_devices(load_config(path))
    if options.no_phrases:
        config = without_phrases(config)
    asked = [Asked(options.text)]
    if options.all is not None:
        try:
            asked = _read(options.all, config.station.name)
        except (OSError, ValueError) as error:
            return fail(f"{options.all} cannot be read: {error}", 2)
    rehearsal = Rehearsal(config, None if options.no_model else partial(_open, config))
    if options.json:
        return _print_json(asked, rehearsal, config)
    told = [rehearsal.tell(one.text) for one in asked]
    if options.all is None:
        print("\n".join(_lines(told[0])))
        return 0
    return _print_table(asked, told)


def _open(config: Config) -> Engine:
    """The model that commands are put to, alone."""
    from lineside.edge.models import open_for_commands

    return open_for_commands(config)


def _read(path: Path, station: str) -> list[Asked]:
    """Lines for other stations are left out. Raises OSError, ValueError."""
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), 1):
        if not line.strip():
            continue
        if not line.lstrip().startswith("{"):
            found.append(Asked(line.strip()))
            continue
        try:
            entry = json.loads(line)
            text = entry["text"]
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f'line {number} is no JSON object with "text" ({error})') from error
        if entry.get("station", station) == station:
            found.append(Asked(text, _right(entry)))
    if not found:
        raise ValueError("it has no sentence for this station")
    return found


def _right(entry: dict[str, Any]) -> Any:
    """`{"tool": {arguments}}`, null, or a text: "refused ..." is no call, and any other says nothing to compare."""
    right = entry.get("right", UNKNOWN)
    if isinstance(right, str):
        return None if right.startswith("refused") else UNKNOWN
    return right


def _lines(told: Told) -> list[str]:
    """One sentence, for a person."""
    by = {"phrase": "a phrase", "model": "the model", "conversation": "what was said before"}.get(told.by, "nobody")
    lines = [f"{_what(told)}", f"decided by {by}, in {told.ms:.1f} ms"]
    return [*lines, f"{told.code}: {told.why}" if told.code else told.why] if told.why else lines


def _what(told: Told) -> str:
    calls = [
        f"{name} {json.dumps(dict(arguments), ensure_ascii=False)}" for name, arguments in told.carried_out.items()
    ]
    return "; ".join(calls) or ("refused" if told.code else "no call")


def _mark(asked: Asked, told: Told) -> str:
    if asked.right is UNKNOWN:
        return ""
    done = {name: dict(arguments) for name, arguments in told.done.items()}
    if done == (asked.right or {}):
        return "right"
    return "acted wrongly" if done else "not done"


def _print_json(asked: Sequence[Asked], rehearsal: Rehearsal, config: Config) -> int:
    """A line for each sentence, as soon as it is decided. `acts` is false for a call that only tells something."""
    wrongly = False
    for one in asked:
        told = rehearsal.tell(one.text)
        wrongly = wrongly or _mark(one, told) == "acted wrongly"
        calls = [
            call.model_dump(include={"name", "arguments", "outcome", "code"}) | {"acts": config.tools[call.name].acts}
            for call in told.calls
        ]
        line = {"text": told.text, "by": told.by, "calls": calls, "code": told.code, "why": told.why}
        print(json.dumps({**line, "ms": round(told.ms, 2)}, ensure_ascii=False), flush=True)
    return int(wrongly)


def _print_table(asked: Sequence[Asked], told: Sequence[Told]) -> int:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("sentence", "by", "what", "why", "", "ms")
    marks = [_mark(one, what) for one, what in zip(asked, told, strict=True)]
    for one, what, mark in zip(asked, told, marks, strict=True):
        style = {"acted wrongly": "red", "not done": "yellow"}.get(mark, "")
        why = f"{what.code}: {what.why}" if what.code else what.why
        table.add_row(*map(Text, (one.text, what.by, _what(what), why, mark, f"{what.ms:.1f}")), style=style)
    console = Console(highlight=False)
    console.print(table)
    by_phrase = sum(what.by == "phrase" for what in told)
    counted = [f"{marks.count(kind)} {kind}" for kind in ("right", "not done", "acted wrongly") if any(marks)]
    console.print(", ".join([f"{len(told)} sentences", f"{by_phrase} by phrase", *counted]))
    return int("acted wrongly" in marks)
