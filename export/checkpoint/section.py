"""A part of a config whose every key is read or refused."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lineside.export.errors import MissingPart, Unsupported

MISSING: Any = object()


class Section:
    """Reads keys and remembers which; `close` refuses those that nobody read.

    Args:
        where: the keys before this section, such as `text_config.`.
    """

    def __init__(self, values: object, path: Path, where: str = "") -> None:
        if not isinstance(values, Mapping):
            raise Unsupported(f"{path}: {where.removesuffix('.') or 'the file'} is no JSON object")
        self._values: Mapping[str, Any] = values
        self.path, self._where = path, where
        self._read: set[str] = set()

    def __contains__(self, key: str) -> bool:
        """Whether the key is there, and not null."""
        return self._values.get(key) is not None

    def name(self, key: str) -> str:
        """As an error names it."""
        return f"{self.path}: {self._where}{key}"

    def get(self, key: str, default: Any = MISSING) -> Any:
        """A value of any kind; null counts as left out. Raises MissingPart where there is no default."""
        self._read.add(key)
        found = self._values.get(key)
        if found is not None:
            return found
        if default is MISSING:
            raise MissingPart(f"{self.name(key)} is missing")
        return default

    def whole(self, key: str, default: Any = MISSING, *, least: int = 1) -> int:
        """A whole number of at least `least`; raises Unsupported where it is none."""
        found = self.get(key, default)
        if isinstance(found, float) and found.is_integer():
            found = int(found)
        if isinstance(found, bool) or not isinstance(found, int) or found < least:
            raise Unsupported(f"{self.name(key)} = {found!r} is not a whole number of at least {least}")
        return found

    def number(self, key: str, default: Any = MISSING, *, above: float = 0.0) -> float:
        """A number above `above`; raises Unsupported where it is none."""
        found = self.get(key, default)
        if isinstance(found, bool) or not isinstance(found, int | float) or not found > above or found == float("inf"):
            raise Unsupported(f"{self.name(key)} = {found!r} is not a number above {above:g}")
        return float(found)

    def flag(self, key: str, default: Any = MISSING) -> bool:
        found = self.get(key, default)
        if not isinstance(found, bool):
            raise Unsupported(f"{self.name(key)} = {found!r} is neither true nor false")
        return found

    def choice(self, key: str, supported: tuple[str, ...], default: Any = MISSING) -> str:
        """One of `supported`; raises Unsupported."""
        found = self.get(key, default)
        if not isinstance(found, str) or found not in supported:
            raise Unsupported(f"{self.name(key)} = {found!r} is not supported; supported: {', '.join(supported)}")
        return found

    def require(self, key: str, supported: object) -> None:
        """Raises Unsupported where the key is there and says something else."""
        found = self.get(key, supported)
        if found != supported:
            raise Unsupported(f"{self.name(key)} = {found!r} is not supported; supported: {supported!r}")

    def inner(self, key: str, default: Any = MISSING) -> Section:
        """A section of this section."""
        return Section(self.get(key, default), self.path, f"{self._where}{key}.")

    def close(self, ignored: frozenset[str] = frozenset()) -> None:
        """Raise Unsupported for a key that nobody read, has a value, and is not known to make no difference."""
        for key, value in self._values.items():
            if key not in self._read and key not in ignored and value is not None:
                raise Unsupported(
                    f"{self.name(key)} is not known to Lineside, which passes nothing over: "
                    "remove the key if it makes no difference to the network"
                )
