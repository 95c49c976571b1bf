"""Reads what `vspec export json` of vss-tools writes: a tree of branches, whose leaves are signals."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from lineside.edge.errors import ConfigError

LEAVES = ("sensor", "actuator", "attribute")
WHOLE: Mapping[str, tuple[int, int] | None] = {
    "int8": (-128, 127),
    "uint8": (0, 255),
    "int16": (-32768, 32767),
    "uint16": (0, 65535),
    "int32": None,
    "uint32": (0, 2**32 - 1),
    "int64": None,
    "uint64": None,
}
"""Types of whole numbers, and the range that a type has where the signal itself gives none."""
BROKEN = ("float", "double")


@dataclass(frozen=True)
class Signal:
    """A leaf; `path` begins with the root, such as `Vehicle.Speed`."""

    path: str
    kind: str
    datatype: str
    description: str
    unit: str = ""
    minimum: float | None = None
    maximum: float | None = None
    allowed: tuple[str, ...] = ()

    @property
    def short(self) -> str:
        """The path without its root."""
        return self.path.partition(".")[2]

    @property
    def is_number(self) -> bool:
        return self.datatype in WHOLE or self.datatype in BROKEN


def read_signals(path: Path) -> Mapping[str, Signal]:
    """The signals of a file by path.

    Raises:
        ConfigError: it cannot be read, or is none.
    """
    try:
        stamp = path.stat()
        return _read(path, stamp.st_mtime_ns, stamp.st_size)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror})") from error


@lru_cache(maxsize=4)
def _read(path: Path, _time: int, _bytes: int) -> Mapping[str, Signal]:
    try:
        tree = json.loads(path.read_text(encoding="utf-8-sig"))
        found = {signal.path: signal for name, node in tree.items() for signal in _leaves(name, node)}
    except (ValueError, RecursionError, AttributeError, TypeError, KeyError) as error:
        raise ConfigError(
            f"{path} is not what `vspec export json` writes ({type(error).__name__}: {error}): make it anew"
        ) from error
    if not found:
        raise ConfigError(f"{path} has no signals: `vspec export json --vspec FILE --output {path.name}` makes it")
    return found


def _leaves(path: str, node: Mapping[str, Any]) -> Iterator[Signal]:
    if node["type"] == "branch":
        for name, child in node.get("children", {}).items():
            yield from _leaves(f"{path}.{name}", child)
    elif node["type"] in LEAVES:
        yield Signal(
            path,
            node["type"],
            str(node["datatype"]),
            str(node.get("description", "")).strip().rstrip("."),
            str(node.get("unit", "")),
            node.get("min"),
            node.get("max"),
            tuple(str(value) for value in node.get("allowed", ())),
        )


def matching(pattern: str, signals: Mapping[str, Signal]) -> list[Signal]:
    """Those that a path with wildcards names: `*` is one part, `**` any number; the root may be left out."""
    parts = [
        r"[^.]+(?:\.[^.]+)*" if part == "**" else re.escape(part).replace(r"\*", "[^.]*") for part in pattern.split(".")
    ]
    form = re.compile(r"(?:[^.]+\.)?" + r"\.".join(parts))
    return [signal for signal in signals.values() if form.fullmatch(signal.path)]
