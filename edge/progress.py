"""Progress of long work: a bar on a terminal, log lines otherwise."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator, Sequence
from typing import TypeVar

from rich.console import Console
from rich.progress import track

log = logging.getLogger("lineside.progress")
Item = TypeVar("Item")
LINE_EVERY_S = 10.0


def progress(items: Sequence[Item], what: str) -> Iterator[Item]:
    """The items, while it is shown how far one has come."""
    if sys.stderr.isatty():
        yield from track(items, what, console=Console(stderr=True))
        return
    said = time.monotonic()
    for number, item in enumerate(items):
        yield item
        if time.monotonic() - said > LINE_EVERY_S:
            said = time.monotonic()
            log.info("%s: %d of %d", what, number + 1, len(items))
