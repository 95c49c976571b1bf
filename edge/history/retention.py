"""What goes from the history, the oldest first: for its age, for its bytes, for a disk that is full."""

from __future__ import annotations

import logging
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

from lineside.edge.history.records import ROW_BYTES
from lineside.edge.history_config import HistoryConfig
from lineside.edge.steady import unix_time

log = logging.getLogger("lineside.history")
DAY_S = 24 * 3600
AT_ONCE = 50
HAS_PICTURES = "frame_bytes + evidence_bytes > 0"


class Retention:
    """Keeps the sum of bytes, and lets the oldest go. Called by the history's own thread, in a transaction.

    Args:
        folder: of the history.
        free: how many bytes of the disk with `folder` are free.
    """

    def __init__(
        self,
        settings: HistoryConfig,
        folder: Path,
        free: Callable[[Path], int] = lambda folder: shutil.disk_usage(folder).free,
        clock: Callable[[], float] = unix_time,
    ) -> None:
        self._settings, self._folder, self._free, self._clock = settings, folder, free, clock
        self._bytes: int | None = None

    def added(self, size: int) -> None:
        if self._bytes is not None:
            self._bytes += size

    def forget(self) -> None:
        """A transaction has failed: count anew."""
        self._bytes = None

    def enforce(self, db: sqlite3.Connection) -> int:
        """Let go what is too old or too much; returns how many verdicts lost their pictures."""
        now, gone = self._clock(), 0
        if self._bytes is None:
            self._bytes = _sum(db)
        while expired := self._expire(db, "kept_at < ?", (now - self._settings.pictures_days * DAY_S,)):
            gone += expired
        self._delete(db, "kept_at < ?", (now - self._settings.verdicts_days * DAY_S,))
        while self._bytes > self._settings.max_bytes or self._is_short():
            expired = self._expire(db)
            gone += expired
            if not expired and (self._bytes <= self._settings.max_bytes or not self._delete(db)):
                break
        return gone

    def make_room(self, db: sqlite3.Connection, size: int) -> bool:
        """The disk is full: let pictures go until `size` bytes went. False where there were none."""
        before = _sum(db)
        while before - _sum(db) < size and self._expire(db):
            pass
        self.forget()
        return _sum(db) < before

    def _is_short(self) -> bool:
        least = self._settings.min_free_bytes
        return bool(least) and self._free(self._folder) < least

    def _expire(self, db: sqlite3.Connection, where: str = "1", values: tuple[float, ...] = ()) -> int:
        """Delete pictures of the oldest few that have any. Their verdicts stay."""
        rows = db.execute(
            f"SELECT seq, frame, frame_bytes, evidence, evidence_bytes FROM verdicts WHERE {HAS_PICTURES} AND {where} "
            "ORDER BY seq LIMIT ?",
            (*values, AT_ONCE),
        ).fetchall()
        freed = 0
        for seq, frame, frame_bytes, evidence, evidence_bytes in rows:
            if frame:
                self._unlink(self._folder / frame)
            if evidence:
                self._unlink(Path(evidence))
            db.execute(
                "UPDATE verdicts SET frame_bytes = 0, evidence_bytes = 0, expired_at = ? WHERE seq = ?",
                (self._clock(), seq),
            )
            freed += frame_bytes + evidence_bytes
        self._bytes = (self._bytes or 0) - freed
        return len(rows)

    def _delete(self, db: sqlite3.Connection, where: str = "1", values: tuple[float, ...] = ()) -> int:
        """Delete the oldest verdicts without pictures; how many went."""
        oldest = f"SELECT seq FROM verdicts WHERE NOT ({HAS_PICTURES}) AND {where} ORDER BY seq LIMIT {AT_ONCE * 10}"
        (size,) = db.execute(f"SELECT {_ROW_SUM} FROM verdicts WHERE seq IN ({oldest})", values).fetchone()
        cursor = db.execute(f"DELETE FROM verdicts WHERE seq IN ({oldest})", values)
        if cursor.rowcount:
            self._bytes = (self._bytes or 0) - int(size or 0)
            db.execute("DELETE FROM setups WHERE digest NOT IN (SELECT setup FROM verdicts)")
            db.execute("DELETE FROM reviews WHERE id NOT IN (SELECT id FROM verdicts)")
        return int(cursor.rowcount)

    def _unlink(self, path: Path) -> None:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            log.error("%s cannot be deleted (%s)", path, error.strerror)


_ROW_SUM = f"SUM(LENGTH(result) + LENGTH(views) + {ROW_BYTES})"


def _sum(db: sqlite3.Connection) -> int:
    (size,) = db.execute(f"SELECT {_ROW_SUM} + SUM(frame_bytes + evidence_bytes) FROM verdicts").fetchone()
    return int(size or 0)
