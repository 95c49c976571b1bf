"""At which line of a TOML file a key stands, which Python's own reader does not tell."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path as FilePath
from typing import Any

KEY_LINE = re.compile(r"""\s*(?:"[^"]*"|'[^']*'|[\w-]+)(?:\s*\.\s*(?:"[^"]*"|'[^']*'|[\w-]+))*\s*=""")
Path = tuple[str, ...]


def key_lines(text: str) -> dict[Path, int]:
    """The first line of each table and key, from 1, in a text that is TOML. Keys within braces are not looked at."""
    lines, found = text.split("\n"), dict[Path, int]()
    table: Path = ()
    at = 0
    while at < len(lines):
        here, at = at, at + 1
        if lines[here].lstrip().startswith("["):
            table = _path(tomllib.loads(lines[here]))
            path = table
        elif KEY_LINE.match(lines[here]):
            value, at = _value(lines, here)
            path = table + _path(value)
        else:
            continue
        for length in range(1, len(path) + 1):
            found.setdefault(path[:length], here + 1)
    return found


def line_of(lines: Mapping[Path, int], key: Sequence[object]) -> int:
    """Of the key, or of the nearest table that holds it; 0 for neither."""
    path = tuple(str(part) for part in key)
    return next((lines[path[:length]] for length in range(len(path), 0, -1) if path[:length] in lines), 0)


def place(path: FilePath, lines: Mapping[Path, int], key: Sequence[object]) -> str:
    """The file with the line of the key, where it has one."""
    line = line_of(lines, key)
    return f"{path}:{line}" if line else str(path)


def _value(lines: Sequence[str], start: int) -> tuple[Any, int]:
    """What begins at `start`, and the line behind it: a list or a text may go over several."""
    for end in range(start + 1, len(lines) + 1):
        try:
            return tomllib.loads("\n".join(lines[start:end])), end
        except tomllib.TOMLDecodeError:
            continue
    return {}, start + 1


def _path(value: Any) -> Path:
    """Down to what is no table of one key: `a.b = 1` is written with a dot, `a = {b = 1}` is taken for it."""
    path: list[str] = []
    while isinstance(value, dict) and len(value) == 1:
        key, value = next(iter(value.items()))
        path.append(key)
        if isinstance(value, list) and value and isinstance(value[0], dict):
            value = value[0]
    return tuple(path)
