"""A small decoder begins to load before its manifest is read: what checks a manifest takes as long to import as such a
decoder to load, and loading leaves the interpreter free.
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lineside.runtime.sessions.ort import Loading

MANIFEST, GRAPH, WEIGHTS = "bundle.json", "decoder.onnx", "decoder.data"
MOST_BYTES = 1024 * 1024 * 1024
"""Of weights: what is wrong with a large bundle must be told before it is loaded, which takes minutes."""


def begin_loading(path: Path, threads: int) -> Loading | None:
    """The decoder's graph in the bundle at `path`, for the CPU, on a thread of its own; None where it is large, or
    where its files have other sizes than `bundle.json` says. Whoever waits for it reads `bundle.json` first, and
    raises what is wrong with that; the future raises BundleDamaged.
    """
    if not _small_and_whole(path):
        return None
    from lineside.runtime.sessions.ort import (
        load_graph,  # here and not on the thread, which would wait for other imports
    )

    pool = ThreadPoolExecutor(1, "loading")
    loading = pool.submit(load_graph, path / GRAPH, threads)
    pool.shutdown(wait=False)
    return loading


def _small_and_whole(path: Path) -> bool:
    try:
        files = json.loads((path / MANIFEST).read_bytes())["files"]
        sizes = {name: (path / name).stat().st_size for name in (GRAPH, WEIGHTS)}
        return sizes[WEIGHTS] <= MOST_BYTES and all(files[name]["bytes"] == size for name, size in sizes.items())
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return False
