"""Text arguments taken from the conversation word by word, for models that cannot be trusted to spell what they heard.

A small model that is told `Rate The Abolition of Britain four points` knows which words are the title, and may still
write `The Abolusion of Britain`. A bundle that says `verbatim_arguments` leaves it the choice of the words only: a name
that nobody said is never passed to a function.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from runtime.chat import Message

WORD = re.compile(r"\w+|[^\w\s]")
MOST_WORDS = 14
"""In one argument."""
MOST_CHARACTERS = 40_000
"""Of all runs together: those of the newest words count. A command of 50 words has half of that."""
OPEN = {"type", "description", "title", "default", "examples", "minLength", "maxLength"}
"""Keywords of a text that may be anything: one with a pattern, a format or a list of values is left as it is."""
SAID = "lineside.said"


def said(messages: Sequence[Message]) -> tuple[str, ...]:
    """All runs of words in what users and tools wrote, the newest first, up to `MOST_CHARACTERS`."""
    runs: dict[str, None] = {}
    left = MOST_CHARACTERS
    heard = [part for message in messages if message.role in ("user", "tool") for part in message.content]
    for text in reversed([part for part in heard if isinstance(part, str)]):
        words = [match.span() for match in WORD.finditer(text)]
        for first in reversed(range(len(words))):
            for _, end in words[first : first + MOST_WORDS]:
                run = text[words[first][0] : end]
                if run in runs or not run.isprintable():
                    continue
                left -= len(run)
                if left < 0:
                    return tuple(runs)
                runs[run] = None
    return tuple(runs)


def verbatim(schema: Mapping[str, Any], runs: Sequence[str]) -> dict[str, Any]:
    """The schema of a tool's parameters, where every text that may be anything is one of `runs`."""
    if not runs:
        return dict(schema)
    narrowed: dict[str, Any] = _narrowed(schema, runs)
    return {**narrowed, "$defs": {**narrowed.get("$defs", {}), SAID: {"enum": list(runs)}}}


def _narrowed(schema: Any, runs: Sequence[str]) -> Any:
    if not isinstance(schema, Mapping):
        return schema
    if schema.get("type") == "string" and schema.keys() <= OPEN:
        bounds = {"minLength", "maxLength"} & schema.keys()
        least, most = schema.get("minLength", 0), schema.get("maxLength", float("inf"))
        fitting = [run for run in runs if least <= len(run) <= most] if bounds else []
        return schema if bounds and not fitting else {"enum": fitting} if bounds else {"$ref": f"#/$defs/{SAID}"}
    narrowed = dict(schema)
    if isinstance(schema.get("properties"), Mapping):
        narrowed["properties"] = {name: _narrowed(part, runs) for name, part in schema["properties"].items()}
    if isinstance(schema.get("items"), Mapping):
        narrowed["items"] = _narrowed(schema["items"], runs)
    return narrowed
