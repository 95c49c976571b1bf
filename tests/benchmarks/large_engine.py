"""One engine in a process of its own, as JSON: seconds from its opening to a first token, and of each token behind it.

`python -m tests.benchmarks.large_engine lineside|llama.cpp|bandwidth PATH THREADS [cold]`; `cold` drops the file from
the system's cache first. Nothing of the other engine, nor of the exporter, is imported.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.benchmarks.fresh import peak_mb
from tests.benchmarks.measure import bandwidth_bytes_s

CAPACITY, STEPS = 256, 24
FIRST = 100
Step = Callable[[int], object]
"""Decodes one more token: it is given its place."""


def main() -> None:
    kind, path, threads = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    if kind == "bandwidth":
        sys.stdout.write(json.dumps({"bytes_s": bandwidth_bytes_s(threads)}))
        return
    opened = {"lineside": lineside, "llama.cpp": llama_cpp}[kind]
    if "cold" in sys.argv[4:]:
        for file in sorted(path.iterdir()) if path.is_dir() else [path]:
            forget(file)
    started, computed = time.perf_counter(), time.process_time()
    step = opened(path, threads)
    step(0)
    taken = {"load_s": time.perf_counter() - started, "load_cpu_s": time.process_time() - computed}
    times = []
    for place in range(1, STEPS):
        started = time.perf_counter()
        step(place)
        times.append(time.perf_counter() - started)
    taken |= {"step_s": statistics.median(times), "peak_mb": peak_mb()}
    sys.stdout.write(json.dumps(taken))


def forget(file: Path) -> None:
    """Drop a file that is not being written from the system's cache."""
    descriptor = os.open(file, os.O_RDONLY)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(descriptor)


def lineside(bundle: Path, threads: int) -> Step:
    """As `Engine.open` does it, which takes several tokens a pass where it can."""
    from lineside.runtime.bundle import open_bundle, verified
    from lineside.runtime.sessions.ort import open_cpu

    opened = open_bundle(bundle)
    with verified(opened):
        _, decoder = open_cpu(opened, threads)
    cache = decoder.allocate(CAPACITY)
    return lambda place: decoder.decode(cache, [FIRST + place], place)


def llama_cpp(path: Path, threads: int) -> Step:
    import llama_cpp as module

    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    model = module.Llama(str(path), n_ctx=CAPACITY, n_threads=threads, n_threads_batch=threads, verbose=False)
    return lambda place: model.eval([FIRST + place])


if __name__ == "__main__":
    main()
