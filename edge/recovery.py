"""Goes on behind a mistake in a station file: mends it as it was probably meant, and holds back what only follows."""

from __future__ import annotations

import re
from collections.abc import Container, Sequence
from typing import Any

from lineside.edge.file_schema import FileSchema, Path
from lineside.edge.mistakes import Mistake

Key = tuple[str, ...]


class Recovery:
    """Of the contents of one file, which are changed in place.

    Attributes:
        unquoted: keys with a value from outside of the file, of which nothing is shown.
    """

    def __init__(self, data: dict[str, Any], unquoted: Container[Key] = ()) -> None:
        self._data = data
        self.unquoted = unquoted
        self._told: set[Path] = set()
        self._left_out: set[Key] = set()
        """Values too that stand for what was not to be read."""
        self._doubted: set[Key] = set()
        self._made_up: set[Key] = set()
        """Tables with a value that nobody has written."""
        self._renamed: dict[Key, Key] = {}
        """What a misspelt key was taken for, and the key that is written."""

    def is_new(self, mistake: Mistake) -> bool:
        """False where it only comes of how another one was mended."""
        unheard = mistake.path not in self._told and mistake.key not in self._left_out
        return unheard and not any(mistake.key[: len(key)] == key for key in self._made_up)

    def led_to(self, problem: tuple[Key, str]) -> bool:
        """Whether a mistake that was told led to this problem."""
        key, sentence = problem
        missed = {each[:-1] for each in self._left_out} if "is missing" in sentence else set[Key]()
        doubted = any(key[: len(table)] == table for table in self._made_up | self._doubted | missed)
        doubted = doubted or any(each[:-1] == key for each in self._left_out)
        doubted = doubted or (("cameras",) in self._left_out and "no camera " in sentence)
        return doubted or key in self._left_out or any(_asks_for(each, sentence) for each in self._left_out)

    def as_written(self, key: Key) -> Key:
        """The key that stands in the file for this one, which may have been mended, or be below such a one."""
        for length in range(len(key), 0, -1):
            if written := self._renamed.get(key[:length]):
                return self.as_written(written[:-1]) + written[-1:] + key[length:]
        return key

    def mend(self, mistakes: Sequence[Mistake], schema: FileSchema) -> bool:
        """Returns False where nothing can be done any more."""
        done = [self._mend(mistake, schema) for mistake in mistakes]
        return any(done)

    def doubt(self, *tables: str) -> None:
        """What is wrong in these tables of the top is not told: too much that they name is not known."""
        self._doubted |= {(table,) for table in tables}

    def _mend(self, mistake: Mistake, schema: FileSchema) -> bool:
        path, key, again = mistake.path, mistake.key, mistake.path in self._told
        self._told.add(path)
        if not path:
            return False
        table, needed = self._table(path[:-1]), schema.is_needed(key)
        if table is None:
            return False
        if again:
            return self._leave_out(key[:-1] if needed else key)
        if mistake.meant is not None:
            self._as_meant(mistake, table)
        elif mistake.kind != "unknown" and schema.is_text(path):
            table[path[-1]] = schema.some(path)
            self._left_out.add(key)
        elif needed:
            self._table(key[:-1])[key[-1]] = schema.some(key)
            self._made_up.add(key[:-1])
        else:
            return self._leave_out(key)
        return True

    def _as_meant(self, mistake: Mistake, table: Any) -> None:
        last = mistake.path[-1]
        if mistake.kind == "wrong":
            table[last] = mistake.meant
        elif (value := table.pop(last)) is not None and mistake.meant not in table:
            table[mistake.meant] = value
            mended = (*mistake.key[: len(mistake.path) - 1], mistake.meant)
            self._left_out.add(mended)
            self._renamed[mended] = mistake.key

    def _leave_out(self, key: Key) -> bool:
        """The value, or the nearest above it that the file has."""
        while key:
            table = self._table(key[:-1])
            if isinstance(table, dict) and key[-1] in table:
                del table[key[-1]]
                self._left_out.add(key)
                return True
            key = key[:-1]
        return False

    def _table(self, path: Path) -> Any:
        """What holds a key or an entry; None where an earlier mistake has taken it away."""
        found: Any = self._data
        for part in path:
            try:
                found = found[part]
            except (LookupError, TypeError):
                return None
        return found


def _asks_for(key: Key, sentence: str) -> bool:
    """Whether the sentence is about what this key does not say."""
    table, last = ".".join(key[:-1]), key[-1]
    compared = rf"\b(without|above|below|than|raise|with a) `({re.escape(table)}\.)?{re.escape(last)}\b"
    return f"`[{table}] {last}`" in sentence or repr(last) in sentence or re.search(compared, sentence) is not None
