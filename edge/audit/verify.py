"""Whether an audit log is whole: every line fits itself and the one before it, and the last is the one of the head."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from lineside.edge.audit.chain import Line, Link, parse_line
from lineside.edge.audit.files import file_of, files_in, read_head
from lineside.edge.errors import AuditError


class Misfit(AuditError):
    """Names the file, the line in it, and what does not fit."""

    def __init__(self, path: Path, number: int, why: str) -> None:
        super().__init__(f"{path}:{number}: {why}")


@dataclass
class Verified:
    """A log that is whole.

    Attributes:
        first, last: None where it has no line yet.
        notes: what was mended, or let go for its age, and where it says so.
    """

    lines: int = 0
    first: Line | None = None
    last: Line | None = None
    notes: list[str] = field(default_factory=list)


def verify(folder: Path) -> Verified:
    """Read the whole log; the station may run meanwhile.

    Raises:
        Misfit: at the first line that does not fit.
        AuditError: there is no log, or it cannot be read.
    """
    try:
        return _Reading(folder).read()
    except OSError as error:
        raise AuditError(f"{error.filename or folder} cannot be read ({error.strerror})") from error


class _Reading:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._head = read_head(folder)
        self._found = Verified()
        self._anchors: set[tuple[int, str]] = set()
        self._ahead: dict[int, tuple[Path, int]] = {}
        self._end = (folder, 0)

    def read(self) -> Verified:
        files = files_in(self._folder)
        if not files and self._head is None:
            raise AuditError(f"{self._folder}: there is no audit log")
        for path, number, raw in _raw_lines(files):
            if raw.endswith(b"\n"):
                self._take(path, number, raw[:-1])
            elif path == files[-1]:
                self._found.notes.append(f"{path}:{number}: a line that was cut short: nothing was done on it")
            else:
                raise Misfit(path, number, "it was cut short")
        self._check_beginning()
        self._check_end()
        return self._found

    def _take(self, path: Path, number: int, raw: bytes) -> None:
        try:
            line = parse_line(raw)
        except ValueError as error:
            raise Misfit(path, number, str(error)) from None
        before = self._found.last
        if before is not None and not line.follows(before.link):
            raise Misfit(path, number, _why_not(line, before.link))
        if number == 1 and path != file_of(self._folder, line.link.seq):
            raise Misfit(path, number, f"the file is not named by its first line, which is line {line.link.seq}")
        kind, detail = line.body.get("kind"), line.body.get("detail")
        if kind == "broken":
            raise Misfit(path, number, f"the station found that the log was not as it had left it: {detail}")
        if kind == "mended":
            self._found.notes.append(f"{path}:{number}: mended: {detail}")
        if kind == "dropped":
            self._anchors.add((int(line.body["last"]), str(line.body["last_hash"])))
        if self._head is not None and line.link.seq >= self._head.seq:
            if line.link.seq == self._head.seq and line.link != self._head:
                raise Misfit(path, number, "the head names another line with this number")
            self._ahead[line.link.seq] = (path, number)
        self._found.first = self._found.first or line
        self._found.last, self._end = line, (path, number)
        self._found.lines += 1

    def _check_beginning(self) -> None:
        """Either the first line of all is there, or a line says up to where the lines before it were let go."""
        first = self._found.first
        if first is None or first.link.seq == 1:
            return
        gone = first.link.seq - 1
        if (gone, first.prev) not in self._anchors:
            why = f"lines 1 to {gone} are missing, and no line of the log says that they were let go"
            raise Misfit(file_of(self._folder, first.link.seq), 1, why)
        self._found.notes.append(f"lines 1 to {gone} were let go for their age or to make room")

    def _check_end(self) -> None:
        """The station writes the head after each line: it is at most one line behind."""
        now = read_head(self._folder)
        if self._head is None or now is None:
            raise Misfit(*self._end, "the head is missing or cannot be read: lines may have been cut off behind it")
        last = self._found.last.link.seq if self._found.last is not None else 0
        if last < self._head.seq:
            missing = f"line {self._head.seq} is" if last + 1 == self._head.seq else f"lines to {self._head.seq} are"
            raise Misfit(*self._end, f"behind line {last}, {missing} missing: the head counts {self._head.seq}")
        if last > now.seq + 1:
            raise Misfit(
                *self._ahead[now.seq + 2], f"the head counts {now.seq} lines: this one was not written by the station"
            )


def _why_not(line: Line, before: Link) -> str:
    seq, due = line.link.seq, before.seq + 1
    if seq > due:
        missing = f"line {due} is" if seq == due + 1 else f"lines {due} to {seq - 1} are"
        return f"{missing} missing before it"
    if seq < due:
        return f"it is line {seq}, and comes after line {before.seq}"
    return "it does not follow the line before it, whose hash is another"


def _raw_lines(files: list[Path]) -> Iterator[tuple[Path, int, bytes]]:
    for path in files:
        with path.open("rb") as file:
            for number, raw in enumerate(file, 1):
                yield path, number, raw
