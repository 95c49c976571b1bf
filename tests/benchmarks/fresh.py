"""One engine in a process of its own: seconds from its import to the first token, and peak memory after a small job."""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path

from tests.benchmarks.smollm import IM_END, SmolLM, gguf_path

PROMPT = list(range(1000, 1512))


def main() -> None:
    index, threads, folder = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    model = SmolLM(gguf_path()) if index == 0 else None
    started = time.perf_counter()
    from tests.benchmarks.peers import Genai, Lineside, LlamaCpp, Peer

    peer: Peer
    if model is not None:
        peer = Lineside(folder / "bundle", model, threads)
    elif index == 1:
        peer = LlamaCpp(gguf_path(), threads)
    else:
        peer = Genai(folder / ("genai_exact" if index == 2 else "genai_rounded"), "genai", IM_END)
    tokens = peer.start(PROMPT[:16])
    next(tokens)
    next(tokens)
    seconds = time.perf_counter() - started
    del tokens
    for _ in zip(range(64), peer.start(PROMPT), strict=False):
        pass
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    sys.stdout.write(json.dumps({"seconds": seconds, "peak_mb": peak_mb}) + "\n")


if __name__ == "__main__":
    main()
