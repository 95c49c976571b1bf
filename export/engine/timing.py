"""TensorRT's timing cache: how fast each kernel ran on this GPU, kept from one build to the next."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def timing_cache(config: Any, path: Path) -> Iterator[None]:
    """What is built with `config` measures no kernel that is in `path` already, and adds what it measured.

    A file of another GPU or version, or a damaged one, is as good as none. What a build that failed or was broken off
    measured is kept, too.
    """
    cache = config.create_timing_cache(path.read_bytes() if path.exists() else b"")
    if cache is None or not config.set_timing_cache(cache, ignore_mismatch=False):
        cache = config.create_timing_cache(b"")
        config.set_timing_cache(cache, ignore_mismatch=False)
    try:
        yield
    finally:
        unfinished = path.with_name(path.name + ".unfinished")
        unfinished.write_bytes(cache.serialize())
        unfinished.rename(path)
