"""A disk that does not take what is written to it: one sentence."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lineside.edge.errors import UpdateError

MB = 1e6


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Raises UpdateError in place of OSError."""
    try:
        yield
    except OSError as error:
        raise disk_error(folder, error) from error


def disk_error(folder: Path, error: OSError) -> UpdateError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return full(folder)
    return UpdateError("storage", f"{error.filename or folder} cannot be written ({error.strerror})")


def full(folder: Path, missing: int = 0) -> UpdateError:
    """`missing` bytes, where it is known how many."""
    many = f"{missing / MB:.0f} MB are missing there" if missing else "it is full"
    return UpdateError("disk_full", f"the model does not fit on the disk of {folder} ({many}): make room and try again")
