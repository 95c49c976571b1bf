"""A small decoder begins to load before its manifest is read: what checks a manifest takes as long to import as such a
decoder to load, and loading leaves the interpreter free.
"""

from __future__ import annotations

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lineside.runtime.sessions.ort import Loading

MANIFEST, GRAPH, WEIGHTS = "bundle.json", "decoder.onnx", "decoder.data"
MOST_BYTES = 1024 * 1024 * 1024
"""Of weights: what is wrong with a large bundle must be told before it is loaded, which takes minutes."""


@dataclass(frozen=True)
class Early:
    """A decoder's graph that is being loaded, and the SHA-256 of the `bundle.json` that it belongs to."""

    sha256: str
    session: Loading


def begin_loading(path: Path, threads: int) -> Early | None:
    """The decoder's graph in the bundle at `path`, for the CPU, on a thread of its own; None where it is large, or
    where its files have other sizes than `bundle.json` says. Whoever waits for it reads `bundle.json` first, raises
    what is wrong with that, and drops a graph of another one; the future raises BundleDamaged.
    """
    manifest = _small_and_whole(path)
    if manifest is None:
        return None
    from lineside.runtime.sessions.ort import (
        load_graph,  # here and not on the thread, which would wait for other imports
    )

    pool = ThreadPoolExecutor(1, "loading")
    loading = pool.submit(load_graph, path / GRAPH, threads)
    pool.shutdown(wait=False)
    return Early(hashlib.sha256(manifest).hexdigest(), loading)


def _small_and_whole(path: Path) -> bytes | None:
    """Its `bundle.json`."""
    try:
        manifest = (path / MANIFEST).read_bytes()
        files = json.loads(manifest)["files"]
        sizes = {name: (path / name).stat().st_size for name in (GRAPH, WEIGHTS)}
        whole = sizes[WEIGHTS] <= MOST_BYTES and all(files[name]["bytes"] == size for name, size in sizes.items())
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return None
    return manifest if whole else None
