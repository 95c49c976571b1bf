"""The files of an audit log: `000000000001.jsonl` and on, each named by its first line, and `head` beside them.

The head has the number and the hash of the newest line, so that lines cut off the end are missed. It has always the
same length and is written over in place, so that a full disk cannot take it away.
"""

from __future__ import annotations

import fcntl
import os
import re
from pathlib import Path

from lineside.edge.audit.chain import START, Line, Link, parse_line
from lineside.edge.errors import AuditError

HEAD = "head"
NAME = re.compile(r"\d{12}\.jsonl")
HEAD_TEXT = re.compile(rb"(\d{12}) ([0-9a-f]{64})\n")
HEAD_BYTES = 78
BLOCK = 64 * 1024


def file_of(folder: Path, seq: int) -> Path:
    """The file that begins with this line."""
    return folder / f"{seq:012d}.jsonl"


def files_in(folder: Path) -> list[Path]:
    """The oldest first."""
    if not folder.exists():
        return []
    return sorted(path for path in folder.iterdir() if NAME.fullmatch(path.name))


def last_line(path: Path) -> tuple[Line | None, int]:
    """The last complete line of a file, None where it has none that fits itself, and the offset of what is behind it
    and was cut short.
    """
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        tail, at = b"", size
        while at and tail.rstrip(b"\n").count(b"\n") < 2:
            at = max(at - BLOCK, 0)
            file.seek(at)
            tail = file.read(size - at)
    whole, _break, torn = tail.rpartition(b"\n")
    if not _break:
        return None, 0
    try:
        return parse_line(whole.rpartition(b"\n")[2]), size - len(torn)
    except ValueError:
        return None, size - len(torn)


def first_line(path: Path) -> Line | None:
    """None where it does not fit itself."""
    with path.open("rb") as file:
        try:
            return parse_line(file.readline().removesuffix(b"\n"))
        except ValueError:
            return None


def read_head(folder: Path) -> Link | None:
    """None where there is none, or it cannot be read."""
    try:
        text = (folder / HEAD).read_bytes()
    except FileNotFoundError:
        return None
    found = HEAD_TEXT.fullmatch(text)
    return Link(int(found[1]), found[2].decode()) if found else None


class Head:
    """The head of a log that is written. One process alone has it.

    Raises AuditError where another process has it, OSError where it cannot be made.
    """

    def __init__(self, folder: Path) -> None:
        self.new = not (folder / HEAD).exists()
        self._descriptor = os.open(folder / HEAD, os.O_RDWR | os.O_CREAT, 0o640)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if self.new:
                self.write(START)
                sync_folder(folder)
        except BlockingIOError:
            self.close()
            raise AuditError(
                f"{folder} belongs to another daemon that runs: give this one an `[audit] folder` of its own"
            ) from None
        except BaseException:
            self.close()
            raise

    def write(self, link: Link) -> None:
        """It is on the disk when this returns."""
        os.pwrite(self._descriptor, f"{link.seq:012d} {link.hash}\n".encode(), 0)
        os.fdatasync(self._descriptor)

    def close(self) -> None:
        os.close(self._descriptor)


def sync_folder(folder: Path) -> None:
    """A file that was made there, or has gone, is so after a power cut, too."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
