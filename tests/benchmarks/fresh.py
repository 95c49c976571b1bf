"""One engine in a process of its own: seconds from its import to the first token, and peak memory after a small job."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

Starter = Callable[[Sequence[int]], Iterator[int]]
PROMPT = list(range(1000, 1512))


def main() -> None:
    index, threads, folder = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    started = time.perf_counter()
    start = lineside(folder / "bundle", threads) if index == 0 else peer(index, threads, folder)
    tokens = start(PROMPT[:16])
    next(tokens)
    next(tokens)
    seconds = time.perf_counter() - started
    del tokens
    for _ in zip(range(64), start(PROMPT), strict=False):
        pass
    sys.stdout.write(json.dumps({"seconds": seconds, "peak_mb": peak_mb()}) + "\n")


def peak_mb() -> float:
    """Largest resident size so far (ru_maxrss would count the parent's, from before exec)."""
    line = next(x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def lineside(bundle: Path, threads: int) -> Starter:
    """The engine as the daemon imports it, without the exporter that the other rows need."""
    import numpy as np

    from runtime.chat import Prompt
    from runtime.engine import Engine
    from runtime.sampling import GREEDY

    engine = Engine.open(bundle, threads=threads)

    def start(ids: Sequence[int]) -> Iterator[int]:
        with engine.sequence(Prompt(np.asarray(ids, np.int64)), reserve=100) as sequence:
            yield -1
            yield from engine.decode(sequence, max_tokens=100, sampling=GREEDY)

    return start


def peer(index: int, threads: int, folder: Path) -> Starter:
    from tests.benchmarks.peers import Genai, LlamaCpp
    from tests.benchmarks.smollm import IM_END, gguf_path

    if index == 1:
        return LlamaCpp(gguf_path(), threads).start
    return Genai(folder / ("genai_exact" if index == 2 else "genai_rounded"), "genai", IM_END).start


if __name__ == "__main__":
    main()
