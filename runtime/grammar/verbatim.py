"""Text arguments taken from the conversation word by word, for models that cannot be trusted to spell what they heard.

A small model that is told `Rate The Abolition of Britain four points` knows which words are the title, and may still
write `The Abolusion of Britain`. A bundle that says `verbatim_arguments` leaves it the choice of the words only: a name
that nobody said is never passed to a function, and one that was said once does not fill a second argument that could
be left out.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lineside.runtime.chat import Message

MOST_WORDS = 24
"""In one argument, with its commas and the like."""
MOST_BYTES = 100_000
"""Of all runs together, as JSON: of a longer conversation the longest runs are left out, then the oldest words."""
SHORTEST = len('"a"')
BREAKS = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]+")
"""What JSON text is never made of here."""
UNSPACED = ("\u3040", "\u9fff")
"""First and last of the characters that are written without spaces and may be a word each."""
FIXED = {"enum", "const", "pattern", "format"}
"""Keywords of texts that are not free."""
PLAIN = {"type", "properties", "required", "additionalProperties", "title", "description", "$schema"}
"""Keywords of an object that ask for no property but those that are required."""
OTHER_KINDS = ("number", "boolean", "null", "array", "object")
SAID = "said"


def said(messages: Sequence[Message]) -> tuple[str, ...]:
    """All runs of words in what users wrote and tools gave back: every word first, then every two, and so on.

    `("",)` where nothing was said.
    """
    heard = [_words(text) for role in ("user", "tool") for text in _texts(messages, role)]
    runs: dict[str, None] = {}
    left = MOST_BYTES
    for count in range(1, MOST_WORDS + 1):
        for text, words in heard:
            for first in range(len(words) - count, -1, -1):
                run = text[words[first][0] : words[first + count - 1][1]]
                size = len(json.dumps(run))
                if size <= left and run not in runs and any(map(_in_word, run)):
                    runs[run] = None
                    left -= size
                if left < SHORTEST:
                    return tuple(runs)
    return tuple(runs) or ("",)


def verbatim(schema: Mapping[str, Any], runs: Sequence[str]) -> dict[str, Any]:
    """A lowered schema (see `runtime.grammar.json_schema`), where every text that may be anything is one of `runs`.

    Bounds of its length hold; one that none of the runs satisfies stays as it is.
    """
    lists: dict[tuple[int, float], str] = {}
    defs = {name: _narrowed(part, runs, lists) for name, part in schema.get("$defs", {}).items()}
    root = _narrowed({key: value for key, value in schema.items() if key != "$defs"}, runs, lists)
    told = {name: {"enum": _fitting(runs, *bounds)} for bounds, name in lists.items()}
    return {**root, "$defs": {**defs, **told}}


def said_once(arguments: Mapping[str, Any], schema: Mapping[str, Any], messages: Sequence[Message]) -> dict[str, Any]:
    """`arguments` without optional texts that repeat another argument, where that was said only once.

    What is said once is meant once: in `book a table at Shore Club` the restaurant is no city, too. A schema with
    keywords that might need the argument is left alone, and so are texts with an enum, const, pattern or format.
    """
    kept = dict(arguments)
    if not schema.keys() <= PLAIN:
        return kept
    heard = [_alike(text) for role in ("user", "tool") for text in _texts(messages, role)]
    for name in reversed(list(arguments)):
        value, told = arguments[name], schema.get("properties", {}).get(name, {})
        if not isinstance(told, Mapping) or told.get("type") != "string" or FIXED & told.keys():
            continue
        word = _alike(str(value))
        others = {_alike(str(other)) for key, other in kept.items() if key != name}
        if name not in schema.get("required", ()) and word in others and sum(text.count(word) for text in heard) <= 1:
            del kept[name]
    return kept


def _alike(text: str) -> str:
    return unicodedata.normalize("NFC", text).casefold()


def _narrowed(node: Any, runs: Sequence[str], lists: dict[tuple[int, float], str]) -> Any:
    if isinstance(node, list):
        return [_narrowed(part, runs, lists) for part in node]
    if not isinstance(node, Mapping):
        return node
    out = dict(node)
    for key in ("properties", "patternProperties"):
        if key in node:
            out[key] = {name: _narrowed(part, runs, lists) for name, part in node[key].items()}
    for key in ("items", "additionalProperties", "prefixItems", "anyOf", "oneOf", "allOf"):
        if key in node:
            out[key] = _narrowed(node[key], runs, lists)
    kinds = _kinds(node)
    bounds = (node.get("minLength", 0), node.get("maxLength", float("inf")))
    if "string" not in kinds or FIXED & node.keys() or not _fitting(runs, *bounds):
        return out
    name = lists.setdefault(bounds, f"{SAID}{len(lists)}")
    others = [kind for kind in kinds if kind != "string"]
    reference = {"$ref": f"#/$defs/{name}"}
    if not others:
        return reference
    return {"anyOf": [reference, {key: value for key, value in out.items() if key != "type"} | {"type": others}]}


def _kinds(node: Mapping[str, Any]) -> Sequence[str]:
    """What a node may be; nothing where other keywords say so."""
    kinds = node.get("type")
    if kinds is None:
        return () if {"$ref", "anyOf", "oneOf", "allOf"} & node.keys() else ("string", *OTHER_KINDS)
    return [kinds] if isinstance(kinds, str) else kinds


def _fitting(runs: Sequence[str], least: float, most: float) -> list[str]:
    return [run for run in runs if least <= len(run) <= most]


def _texts(messages: Sequence[Message], role: str) -> Iterator[str]:
    """The newest first; of a tool's JSON its texts and numbers."""
    for message in reversed(messages):
        for part in reversed(message.content) if message.role == role else ():
            if isinstance(part, str):
                for text in reversed([part] if role == "user" else list(_leaves(part))):
                    yield from reversed(BREAKS.split(text))


def _leaves(text: str) -> Iterator[str]:
    try:
        pending = [json.loads(text)]
    except (ValueError, RecursionError):
        yield text
        return
    while pending:
        value = pending.pop()
        if isinstance(value, dict | list):
            pending += reversed(list(value.values()) if isinstance(value, dict) else value)
        elif isinstance(value, str | int | float) and not isinstance(value, bool):
            yield str(value)


def _words(text: str) -> tuple[str, list[tuple[int, int]]]:
    """The text in composed characters, and where each word or mark of it begins and ends."""
    text = unicodedata.normalize("NFC", text)
    words: list[tuple[int, int]] = []
    inside = False
    for at, character in enumerate(text):
        if character.isspace():
            inside = False
            continue
        joins = _in_word(character)
        if inside and joins and not UNSPACED[0] <= character <= UNSPACED[1]:
            words[-1] = (words[-1][0], at + 1)
        else:
            words.append((at, at + 1))
        inside = joins
    return text, words


def _in_word(character: str) -> bool:
    """Letters, digits, what is written above and below them, and what joins them unseen."""
    return character == "_" or unicodedata.category(character)[0] in "LNM" or unicodedata.category(character) == "Cf"
