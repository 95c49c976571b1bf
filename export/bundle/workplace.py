"""Where a bundle is made until it is complete: `BUNDLE.partial`, which one export at a time may use.

    BUNDLE.partial/
        lock            held (flock) by the export that works here
        journal.jsonl   what export it is, and which weights are complete
        bundle/         what becomes BUNDLE, in one step

Whatever happens in between, the same command goes on from there. A folder of that name that no export has made is left
as it is.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from lineside.export.bundle.journal import Journal
from lineside.export.errors import TargetExists, TargetInUse, TargetUnwritable

JOURNAL, LOCK, BUNDLE = "journal.jsonl", "lock", "bundle"
BEGINNINGS = {LOCK, "journal.new"}
"""What lies in the folder before its journal does."""


class Workplace:
    """`folder` becomes the bundle; `journal` says which weights in it are complete."""

    def __init__(self, target: Path, partial: Path) -> None:
        self._target, self._partial = target, partial
        self.folder = partial / BUNDLE
        self.journal = Journal(partial / JOURNAL)

    def take_up(self, stamp: str, sizes: Mapping[str, int]) -> None:
        """Keep the weight files of a broken-off export with the same stamp; without them all begins anew.

        Args:
            sizes: bytes of each weight file, by its name.
        """
        whole = all(_size(self.folder / name) == size for name, size in sizes.items())
        if self.journal.stamp != stamp or not whole:
            self.journal.start(stamp)
        self.folder.mkdir(exist_ok=True)
        for path in self.folder.iterdir():
            if path.name not in sizes or not self.journal.hashes:
                path.unlink()

    def allocated_bytes(self) -> int:
        """Of the disk, by what lies here already."""
        if not self.folder.is_dir():
            return 0
        return sum(path.stat().st_blocks * 512 for path in self.folder.iterdir())

    def publish(self) -> None:
        """Make the folder the bundle. Everything in it is on the disk before it gets its name."""
        for path in (*self.folder.iterdir(), self.folder):
            _sync(path)
        self.folder.rename(self._target)
        _sync(self._target.parent)
        _clear(self._partial)


@contextmanager
def workplace(target: Path) -> Iterator[Workplace]:
    """The place where `target` is made, to oneself.

    Raises:
        TargetExists: see `check_target`.
        TargetInUse: another export is at work here.
        TargetUnwritable: any OSError, in words; what is complete stays for the next try.
    """
    check_target(target)
    partial = partial_of(target)
    try:
        partial.mkdir(parents=True, exist_ok=True)
        lock = os.open(partial / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            _hold(lock, partial, target)
            check_target(target)
            place = Workplace(target, partial)
            try:
                yield place
            finally:
                if not place.journal.stamp:  # nothing was begun
                    _clear(partial)
        finally:
            os.close(lock)
    except OSError as error:
        raise TargetUnwritable(why(error, partial)) from error


def check_target(target: Path) -> None:
    """Raises TargetExists where the bundle is there already, or a folder in the way that no export has made."""
    partial = partial_of(target)
    if not _ours(partial):
        raise TargetExists(f"{partial} is in the way, and no export has made it: move it, or choose another name")
    if os.path.lexists(target):
        if partial.is_dir() and not (partial / BUNDLE).exists():  # killed right after it was published
            _clear(partial)
        raise TargetExists(f"{target} exists already: remove it or choose another name")


def partial_of(target: Path) -> Path:
    return target.with_name(target.name + ".partial")


def why(error: OSError, partial: Path) -> str:
    """One sentence about an error of a file, below `partial` where it names none."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"the disk of {partial} is full: make room and give the same command again, which goes on from there"
    return f"{error.filename or partial}: {error.strerror or error}"


def _hold(lock: int, partial: Path, target: Path) -> None:
    busy = TargetInUse(f"another export to {target} is running: wait for it, or choose another name")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise busy from error
    try:
        held = os.path.samestat(os.fstat(lock), os.stat(partial / LOCK))
    except FileNotFoundError:
        held = False
    if not held:  # the other one has just published and cleared up
        raise busy


def _ours(partial: Path) -> bool:
    """Whether there is nothing, or what an export has left."""
    if not os.path.lexists(partial):
        return True
    if partial.is_symlink() or not partial.is_dir():
        return False
    return bool(Journal(partial / JOURNAL).stamp) or {path.name for path in partial.iterdir()} <= BEGINNINGS


def _clear(partial: Path) -> None:
    """The lock goes last: while it is there nobody else begins."""
    for name in (JOURNAL, *sorted(BEGINNINGS - {LOCK}), LOCK):
        (partial / name).unlink(missing_ok=True)
    with suppress(OSError):  # something else lies there, which is not an export's
        partial.rmdir()


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else -1


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
