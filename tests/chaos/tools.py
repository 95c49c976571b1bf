"""The tool of a station under test that really does something: it writes down that it was called."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path

FILE_VARIABLE = "CHAOS_NOTES"


@dataclass(frozen=True)
class Note:
    """One execution: for which request, and when, on `time.monotonic()`."""

    request: str
    at: float


def note(request: str) -> str:
    """One line for each execution, written when this returns. The clock is one that never jumps."""
    line = json.dumps([request, time.monotonic()]) + "\n"
    descriptor = os.open(os.environ[FILE_VARIABLE], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, line.encode())
    finally:
        os.close(descriptor)
    return "noted"


def read_notes(path: Path) -> list[Note]:
    return [Note(*json.loads(line)) for line in path.read_text().splitlines()] if path.exists() else []
