"""Writes the audit log. A line is on the disk when `append` returns; where it cannot be, nothing has been added."""

from __future__ import annotations

import errno
import logging
import os
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from lineside.edge.audit.chain import START, Line, Link, seal
from lineside.edge.audit.files import Head, file_of, files_in, first_line, last_line, read_head, sync_folder
from lineside.edge.audit_config import AuditConfig
from lineside.edge.counters import Counters
from lineside.edge.degraded import Degraded
from lineside.edge.errors import AuditError, ConfigError

log = logging.getLogger("lineside.audit")
FILE_DAYS = timedelta(days=30)
"""So old the first line of a file gets before a new one is begun."""
CUT_SHOWN = 500


class AuditLog:
    """The audit log of a station that runs.

    Args:
        first: what the first line of each start says.
        degraded: says so where nothing can be written, and where the log was not as it was left.

    Raises:
        ConfigError: the folder cannot be made. AuditError: another process writes there.
    """

    def __init__(
        self,
        folder: Path,
        settings: AuditConfig,
        first: Mapping[str, Any],
        counters: Counters,
        degraded: Degraded,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.folder, self._settings = folder, settings
        self._counters, self._degraded, self._clock = counters, degraded, clock
        self._lock, self._closed = threading.Lock(), False
        self._head: Head | None = None
        self._descriptor: int | None = None
        self._last, self._size, self._begun = START, 0, clock()
        try:
            folder.mkdir(mode=0o750, parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"`audit.folder`: {folder} cannot be made ({error.strerror})") from error
        try:
            self._append({"kind": "start", **first})
        except OSError as error:
            self._say_failed(error)

    def append(self, body: Mapping[str, Any]) -> Link:
        """Write a line down; from any thread. Raises AuditError: it is not in the log."""
        with self._lock:
            try:
                link = self._append(body)
            except OSError as error:
                raise AuditError(self._say_failed(error)) from error
            self._degraded.clear("audit")
        self._counters.add("audit_lines")
        return link

    def close(self) -> None:
        with self._lock:
            self._closed = True
            self._close_file()
            if self._head is not None:
                self._head.close()
                self._head = None

    def _say_failed(self, error: OSError) -> str:
        sentence = f"the audit log in {self.folder} cannot be written ({error.strerror or error})"
        self._counters.add("audit_errors")
        log.error("%s", sentence)
        self._degraded.set("audit", f"{sentence}: calls that act are refused until it can")
        return sentence

    # All below behind the lock. Raises OSError; the file is then closed, and looked at anew by the next line.

    def _append(self, body: Mapping[str, Any]) -> Link:
        if self._closed:
            raise OSError(errno.EBADF, "the station has stopped")
        if self._descriptor is None:
            self._open()
        elif self._size >= self._settings.file_bytes or self._clock() - self._begun > FILE_DAYS:
            self._begin_file()
            self._drop_old()
        return self._write(body)

    def _write(self, body: Mapping[str, Any]) -> Link:
        if self._descriptor is None or self._head is None:
            raise OSError(errno.EBADF, "no file is open")
        data, link = seal({"at": _stamp(self._clock()), **body}, self._last)
        try:
            if os.write(self._descriptor, data) < len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fdatasync(self._descriptor)
            self._head.write(link)
        except OSError:
            with suppress(OSError):
                os.ftruncate(self._descriptor, self._size)
            self._close_file()
            raise
        self._last, self._size = link, self._size + len(data)
        return link

    def _open(self) -> None:
        """Go on where the log ends; what a power cut or a person has done to its end is written down first."""
        if self._head is None:
            self._head = Head(self.folder)
        head = None if self._head.new and files_in(self.folder) else read_head(self.folder)
        torn, line = self._cut_torn()
        broken = _broken(head, line)
        at = line.link if line is not None else START
        self._last = head if head is not None and head.seq > at.seq else at
        files = files_in(self.folder)
        if files:
            self._use(files[-1])
        else:
            self._begin_file()
        self._head.new = False
        if torn:
            cut = torn[:CUT_SHOWN].decode("utf-8", "replace")
            self._write({"kind": "mended", "detail": f"a last line of {len(torn)} bytes was cut short", "cut": cut})
        if broken:
            log.error("the audit log in %s is not as it was left: %s", self.folder, broken)
            self._degraded.set("audit broken", f"the audit log is not as it was left: {broken}")
            self._write({"kind": "broken", "detail": broken})
        self._drop_old()

    def _cut_torn(self) -> tuple[bytes, Line | None]:
        """Take off what is behind the last line break, and files without any line. Returns that, and the last line."""
        torn = b""
        for path in reversed(files_in(self.folder)):
            line, end = last_line(path)
            with path.open("r+b") as file:
                file.seek(end)
                torn = file.read() or torn
                file.truncate(end)
                os.fsync(file.fileno())
            if end:
                return torn, line
            path.unlink()
            sync_folder(self.folder)
        return torn, None

    def _use(self, path: Path) -> None:
        self._close_file()
        self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)
        self._size = os.fstat(self._descriptor).st_size
        first = first_line(path) if self._size else None
        self._begun = _time(first) if first is not None else self._clock()

    def _begin_file(self) -> None:
        self._use(file_of(self.folder, self._last.seq + 1))
        sync_folder(self.folder)

    def _drop_old(self) -> None:
        """Let the oldest files go; a line of the chain says so before, and is where the chain begins from then on."""
        old = files_in(self.folder)[:-1]
        ends = [last_line(path)[0] for path in old]
        sizes = [path.stat().st_size for path in old]
        keep_from = self._clock() - timedelta(days=self._settings.days)
        count = 0
        while count < len(old):
            end = ends[count]
            if end is None:
                break  # somebody has changed it: `verify` says where
            if _time(end) >= keep_from and sum(sizes[count:]) + self._settings.file_bytes <= self._settings.max_bytes:
                break
            count += 1
        if not count or (last := ends[count - 1]) is None:
            return
        self._write({"kind": "dropped", "files": count, "last": last.link.seq, "last_hash": last.link.hash})
        for path in old[:count]:
            path.unlink()
        sync_folder(self.folder)

    def _close_file(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _broken(head: Link | None, line: Line | None) -> str:
    """Why the end of the log is not what the head says; empty where it is, or one line ahead of it."""
    if head is None:
        return "its head is missing or cannot be read"
    if line is None:
        return "" if head == START else f"its head counts {head.seq} lines, and the last of them cannot be found"
    if line.link == head or line.follows(head):
        return ""
    if line.link.seq < head.seq:
        return f"its head counts {head.seq} lines, and it ends with line {line.link.seq}"
    return f"its last line, {line.link.seq}, is not the one that its head names, {head.seq}"


def _time(line: Line) -> datetime:
    """When it was written; long ago where nobody can tell."""
    try:
        return datetime.fromisoformat(str(line.body["at"]))
    except (KeyError, ValueError):
        return datetime.min.replace(tzinfo=UTC)


def _stamp(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
