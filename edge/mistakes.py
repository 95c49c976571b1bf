"""What is wrong in the values of a file that people write, one sentence a mistake.

Each names the key, what was found, what belongs there, and what was probably meant.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Literal

from pydantic import ValidationError

from lineside.devices.cameras.masking import masked
from lineside.edge.file_schema import FileSchema, Path

PLAIN = re.compile(r"[A-Za-z0-9_.-]{1,20}")
"""What is shown of the texts that stand where none belongs: a slip in a word or a number."""
PRIVATE = re.compile(r"pass|pw|secret|token|key|auth|cred|user|login", re.I)
"""In the name of a key: what stands there may be a secret."""
LOGIN = re.compile(r"[^\s/:@'\"`]+:[^\s/'\"`]+@")
OPTION = re.compile(r"(?:^|\s)--?[A-Za-z]")
UNKNOWN = ("unexpected_keyword_argument", "extra_forbidden")


@dataclass(frozen=True)
class Mistake:
    """One, at a key or a place in a list."""

    kind: Literal["unknown", "missing", "wrong"]
    path: Path
    sentence: str
    meant: Any = None
    """The key or value that is nearest to what is there; None where none is near."""

    @property
    def key(self) -> tuple[str, ...]:
        """Where it stands in the file: a place in a list has no line of its own."""
        return key_of(self.path)


def read_mistakes(
    error: ValidationError,
    schema: FileSchema,
    data: Mapping[str, Any],
    above: tuple[str, ...] = (),
    unquoted: Container[tuple[str, ...]] = (),
) -> list[Mistake]:
    """Every mistake in `data`, which `error` is about, once.

    Args:
        above: the keys of the table that `data` stands in.
        unquoted: keys with a value from outside of the file, of which nothing is shown.
    """
    items = error.errors(include_input=False, include_url=False)
    found = [(_path(data, item["loc"], missing=item["type"] == "missing"), item) for item in items]
    deep = {path[:length] for path, _ in found for length in range(len(path))}
    told = {}
    for path, item in found:
        if path in deep or path in told:
            continue  # of a value that may be written in several ways the nearest counts
        told[path] = _mistake(item["type"], path, schema, data, above, is_quoted=key_of(path) not in unquoted)
    return _without_renamed(list(told.values()))


def nearest(said: object, allowed: Iterable[object]) -> Any:
    """The one that `said` is probably a slip of; None where none is near."""
    folded = {str(value).lower(): value for value in allowed}
    close = get_close_matches(said.lower(), folded, 1) if isinstance(said, str) else []
    return folded[close[0]] if close else None


def hint(meant: object) -> str:
    """A question behind a sentence; empty for None."""
    return "" if meant is None else f": did you mean {meant}?"


def key_of(path: Path) -> tuple[str, ...]:
    """Without what stands below a place in a list."""
    return tuple(str(part) for part in itertools.takewhile(lambda part: isinstance(part, str), path))


def found_words(value: object, schema: FileSchema, path: Path, *, is_quoted: bool = True) -> str:
    """What stands there, and nothing of what may be a secret."""
    if isinstance(value, Mapping):
        return "a table"
    if isinstance(value, list | tuple):
        return f"a list of {len(value)}" if value else "an empty list"
    may_show = is_quoted and not schema.is_secret(path) and not any(PRIVATE.search(str(part)) for part in path)
    if value == "":
        return "an empty text"
    if isinstance(value, str):
        is_slip = may_show and schema.is_word(path) and PLAIN.fullmatch(value)
        return json.dumps(value) if is_slip else "a text"
    if not may_show:
        return "true or false" if isinstance(value, bool) else "a number"
    return str(value).lower() if isinstance(value, bool) else str(value)


def texts_in(value: Any) -> Iterator[str]:
    """Every text in a file's contents, the names of keys too."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, below in value.items():
            yield from (key, *texts_in(below))
    elif isinstance(value, list | tuple):
        for below in value:
            yield from texts_in(below)


def veiled(sentence: str, texts: Iterable[str]) -> str:
    """Without logins, and without what may be a secret in these texts of the file: command lines, `token=...`."""
    for text in texts:
        shown = "***" if OPTION.search(text) else masked(text) if "=" in text or "://" in text else text
        if shown != text:
            for form in {text, repr(text)[1:-1], json.dumps(text)[1:-1]}:
                sentence = sentence.replace(form, shown)
    return LOGIN.sub("***@", sentence)


def name_of(path: Path) -> str:
    """`` `outputs.reject.on`, entry 1 ``."""
    first = len(key_of(path))
    named = f"`{'.'.join(map(str, path[:first]))}`"
    if first == len(path):
        return named
    below = ".".join(map(str, path[first + 1 :]))
    return f"{named}, entry {int(path[first]) + 1}" + (f", `{below}`" if below else "")


def wrong_value(
    path: Path, value: object, schema: FileSchema, above: Sequence[str] = (), *, is_quoted: bool = True
) -> str:
    """The sentence, without a guess."""
    named, found = name_of((*above, *path)), found_words(value, schema, path, is_quoted=is_quoted)
    if found == "a text" and schema.is_text(path):
        return f"{named} does not fit: {schema.words(path)} belongs there"
    return f"{named} is {found}, and {schema.words(path)} belongs there"


def _mistake(
    kind: str, path: Path, schema: FileSchema, data: Mapping[str, Any], above: tuple[str, ...], *, is_quoted: bool
) -> Mistake:
    named = name_of((*above, *path))
    if kind in UNKNOWN:
        keys = schema.keys(path[:-1])
        meant = nearest(path[-1], keys)
        there = f"; there is {', '.join(keys)}" if meant is None else hint(f"`{meant}`")
        return Mistake("unknown", path, f"unknown key {named}{there}", meant)
    if kind == "missing" and path and not _holds(_value(data, path[:-1]), path[-1]):
        return Mistake("missing", path, f"{named} is missing, and {schema.words(path)} belongs there")
    value = _value(data, path)
    meant = nearest(value, schema.choices(path))
    guess = hint(json.dumps(meant, ensure_ascii=False) if meant is not None else None)
    return Mistake("wrong", path, wrong_value(path, value, schema, above, is_quoted=is_quoted) + guess, meant)


def _without_renamed(mistakes: list[Mistake]) -> list[Mistake]:
    """A key that was misspelt is not missing, too."""
    renamed = {(*each.path[:-1], each.meant) for each in mistakes if each.kind == "unknown"}
    return [each for each in mistakes if each.kind != "missing" or each.path not in renamed]


def _path(data: Any, location: Sequence[str | int], *, missing: bool) -> Path:
    """The place in the file, without the names of the types that were tried there."""
    path: list[str | int] = []
    for at, part in enumerate(location):
        if _holds(data, part):
            path.append(part)
            data = data[part]
        elif missing and at == len(location) - 1 and isinstance(data, Mapping):
            path.append(part)
    return tuple(path)


def _holds(data: Any, part: str | int) -> bool:
    if isinstance(part, int):
        return isinstance(data, list | tuple) and part < len(data)
    return isinstance(data, Mapping) and part in data


def _value(data: Any, path: Path) -> Any:
    for part in path:
        data = data[part]
    return data
