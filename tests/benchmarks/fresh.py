"""One engine in a process of its own: seconds from its import to the first token, and peak memory after a small job.

Nothing of the other engines, nor of the exporter, is imported: `python -m tests.benchmarks.fresh INDEX THREADS FOLDER`.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

CAPACITY = 4096
PROMPT = list(range(1000, 1512))
SHORT, LONG = 2, 64


def main() -> None:
    index, threads, folder = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    job_of = (lineside, lineside, llama_cpp, genai)[index]
    path = folder / ("bundle", "kv_int8", "q4_0.gguf", "genai")[index]
    started = time.perf_counter()
    job = job_of(path, threads)
    next(job)
    seconds = time.perf_counter() - started
    for _ in job:
        pass
    sys.stdout.write(json.dumps({"seconds": seconds, "peak_mb": peak_mb()}) + "\n")


def peak_mb() -> float:
    """Largest resident size so far (ru_maxrss would count the parent's, from before exec)."""
    line = next(x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


# Each yields once with the first token of 16 prompt tokens, and ends after 64 tokens behind 512.


def lineside(bundle: Path, threads: int) -> Iterator[None]:
    import numpy as np

    from lineside.runtime.chat import Prompt
    from lineside.runtime.engine.engine import Engine, Limits
    from lineside.runtime.engine.sampling import GREEDY

    engine = Engine.open(bundle, threads=threads, limits=Limits(CAPACITY))
    for length, count in ((16, SHORT), (512, LONG)):
        prompt = Prompt(np.asarray(PROMPT[:length], np.int64))
        with engine.sequence(prompt, reserve=CAPACITY - length) as sequence:
            engine.generate(sequence, max_tokens=count, sampling=GREEDY)
        yield


def llama_cpp(path: Path, threads: int) -> Iterator[None]:
    import os

    import llama_cpp as module

    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    model = module.Llama(str(path), n_ctx=CAPACITY, n_threads=threads, n_threads_batch=threads, verbose=False)
    for length, count in ((16, SHORT), (512, LONG)):
        for _ in zip(range(count), model.generate(PROMPT[:length], temp=0.0, top_k=1), strict=False):
            pass
        yield


def genai(path: Path, _threads: int) -> Iterator[None]:
    import onnxruntime_genai as module

    model = module.Model(str(path))
    for length, count in ((16, SHORT), (512, LONG)):
        parameters = module.GeneratorParams(model)
        parameters.set_search_options(max_length=CAPACITY, do_sample=False)
        generator = module.Generator(model, parameters)
        generator.append_tokens(PROMPT[:length])
        for _ in range(count):
            if not generator.is_done():
                generator.generate_next_token()
        yield


if __name__ == "__main__":
    main()
