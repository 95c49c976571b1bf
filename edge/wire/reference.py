"""What a frame says of itself over MQTT: the file that it refers to, and when it was captured."""

from __future__ import annotations

import hashlib
import os
import stat
from datetime import UTC, datetime
from pathlib import Path

from lineside.edge.errors import RequestError
from lineside.edge.wire.messages import FrameReference
from lineside.runtime.defaults import LARGEST_SIDE, SMALLEST_SIDE

FIRST_YEAR = 1970
"""Where a clock that was never set begins."""


def read_referenced(folder: Path, reference: FrameReference, max_bytes: int) -> bytes:
    """The file's bytes, once they are known to be those that were meant. Never waits for a FIFO or a device.

    Args:
        folder: where it is looked up, resolved; nothing outside can be named.

    Raises RequestError: `malformed`, `reference_refused`, `reference_missing`, `reference_changed`, `too_large`.
    """
    named = reference.path
    try:
        path = (folder / named).resolve()
    except (ValueError, RuntimeError, OSError) as error:  # NUL, half a surrogate pair; a loop of links
        raise RequestError("malformed", f"{named!r} is not a path of a file ({error})") from error
    if not path.is_relative_to(folder):
        raise RequestError("reference_refused", f"{named!r} leads out of the station's folder")
    try:
        data = _read(path, named, max_bytes)
    except OSError as error:
        raise RequestError("reference_missing", f"{named!r} cannot be read ({error.strerror})") from error
    if hashlib.sha256(data).hexdigest() != reference.sha256:
        raise RequestError("reference_changed", f"{named!r} has another SHA-256 than the reference")
    return data


def read_max_side(text: str) -> int:
    """Of the user property. Raises RequestError where it is no number of pixels that `max_side` may be."""
    side = int(text) if text.isascii() and text.isdigit() and len(text) <= 4 else 0
    if not SMALLEST_SIDE <= side <= LARGEST_SIDE:
        bounds = f"{SMALLEST_SIDE} to {LARGEST_SIDE}"
        raise RequestError("malformed", f"max_side {text!r} is not a number of pixels from {bounds}")
    return side


def _read(path: Path, named: str, max_bytes: int) -> bytes:
    with open(path, "rb", opener=_without_waiting) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise RequestError("reference_refused", f"{named!r} is not a plain file")
        data = file.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise RequestError("too_large", f"{named!r} has more than {max_bytes} bytes")
    return data


def _without_waiting(path: str, flags: int) -> int:
    """A FIFO opens at once, whether or not somebody writes into it."""
    return os.open(path, flags | os.O_NONBLOCK)


def read_captured_at(stamp: str) -> datetime:
    """In UTC. Raises RequestError where it is not RFC 3339 with a zone, or of a year that no camera's clock shows."""
    try:
        time = datetime.fromisoformat(stamp)
        if time.tzinfo is None:
            raise ValueError("no time zone")
        time = time.astimezone(UTC)
        if time.year < FIRST_YEAR:
            raise ValueError(f"before {FIRST_YEAR}")
    except (ValueError, OverflowError) as error:
        raise RequestError("malformed", f"captured_at {stamp!r} is not an RFC 3339 time ({error})") from error
    return time
