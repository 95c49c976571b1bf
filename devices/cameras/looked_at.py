"""What a folder's camera has looked at already, on disk: it is not looked at again after a restart."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Collection
from contextlib import closing
from pathlib import Path
from typing import Any

from lineside.devices.errors import CameraError

State = tuple[int, int]
"""Size in bytes and time of the last change in nanoseconds: with another one a file is a new picture."""
MOST_GONE = 10_000
"""Files that are remembered of an empty folder: it may be a share that is not mounted just now."""
TABLE = (
    "CREATE TABLE IF NOT EXISTS looked_at (folder BLOB, name BLOB, size INTEGER, changed INTEGER, "
    "PRIMARY KEY (folder, name)) WITHOUT ROWID"
)


class LookedAt:
    """Of one folder, by file name. Any thread may ask.

    Raises:
        CameraError: the file cannot be used.
    """

    def __init__(self, path: Path, folder: Path) -> None:
        self._path, self._folder = path, os.fsencode(folder.resolve())
        self._lock = threading.Lock()
        self._known: dict[bytes, State] = {}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._unusable(error) from error
        self._execute(TABLE, [])
        for name, size, changed in self._execute("SELECT name, size, changed FROM looked_at WHERE folder = ?", None):
            self._known[name] = (size, changed)

    def has(self, name: str, state: State) -> bool:
        with self._lock:
            return self._known.get(os.fsencode(name)) == state

    def add(self, name: str, state: State) -> None:
        """It is on disk when this returns. Raises CameraError."""
        key = os.fsencode(name)
        with self._lock:
            self._execute("INSERT OR REPLACE INTO looked_at VALUES (?, ?, ?, ?)", [(self._folder, key, *state)])
            self._known[key] = state

    def keep_only(self, names: Collection[str]) -> None:
        """Forget the files that are gone. Raises CameraError."""
        with self._lock:
            gone = self._known.keys() - {os.fsencode(name) for name in names}
            if not names:
                gone = set(sorted(gone, key=lambda name: self._known[name][1])[:-MOST_GONE])
            if gone:
                rows = [(self._folder, name) for name in gone]
                self._execute("DELETE FROM looked_at WHERE folder = ? AND name = ?", rows)
                for name in gone:
                    del self._known[name]

    def _execute(self, statement: str, rows: list[Any] | None) -> list[Any]:
        """For each of `rows`, once where there are none; or what it finds of the folder."""
        try:
            with closing(sqlite3.connect(self._path)) as db, db:
                db.execute("PRAGMA journal_mode = WAL")
                if rows is None:
                    return db.execute(statement, (self._folder,)).fetchall()
                if rows:
                    db.executemany(statement, rows)
                else:
                    db.execute(statement)
                return []
        except sqlite3.Error as error:
            raise self._unusable(error) from error

    def _unusable(self, error: Exception) -> CameraError:
        return CameraError(f"{self._path}, which says what was looked at, cannot be used ({error})")
