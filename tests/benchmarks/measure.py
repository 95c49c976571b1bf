"""What is measured, for one engine or for several turn about."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Sequence

import numpy as np

from tests.benchmarks.peers import Peer, Schema

RUNS = 5


def turn_about(work: Sequence[Callable[[], float]], runs: int = RUNS) -> list[float]:
    """Medians of `runs` measurements of each, taken in turns after one that does not count."""
    for measure in work:
        measure()
    taken = [[measure() for measure in work] for _ in range(runs)]
    return [statistics.median(values) for values in zip(*taken, strict=True)]


def prefill_s(peer: Peer, ids: Sequence[int]) -> float:
    started = time.perf_counter()
    tokens = peer.start(ids)
    next(tokens)
    return time.perf_counter() - started


def decode_s(peer: Peer, ids: Sequence[int], count: int) -> float:
    """Seconds for each of `count` tokens behind a prompt."""
    tokens = peer.start(ids)
    next(tokens)
    next(tokens)
    started = time.perf_counter()
    taken = sum(1 for _, _ in zip(range(count), tokens, strict=False))
    return (time.perf_counter() - started) / max(taken, 1)


def answer_s(peer: Peer, ids: Sequence[int], schema: Schema | None, limit: int) -> float:
    """Seconds from the prompt and its schema to the answer's end (or `limit` tokens)."""
    started = time.perf_counter()
    answer_tokens(peer, ids, schema, limit)
    return time.perf_counter() - started


def answer_behind_s(peer: Peer, ids: Sequence[int], schema: Schema | None, limit: int) -> float:
    """The same without the prompt: seconds from when it is in to the answer's end."""
    tokens = peer.start(ids, schema=schema)
    next(tokens)
    started = time.perf_counter()
    for _ in zip(range(limit), tokens, strict=False):
        pass
    return time.perf_counter() - started


def answer_tokens(peer: Peer, ids: Sequence[int], schema: Schema | None, limit: int) -> int:
    """How many tokens the answer has."""
    tokens = peer.start(ids, schema=schema)
    next(tokens)
    return sum(1 for _ in zip(range(limit), tokens, strict=False))


def first_token_s(peer: Peer, ids: Sequence[int], warm: Sequence[int]) -> float:
    """Seconds to the first token of a prompt when another one that began alike was answered before."""
    tokens = peer.start(warm)
    for _ in zip(range(3), tokens, strict=False):
        pass
    started = time.perf_counter()
    tokens = peer.start(ids, reuse=True)
    next(tokens)
    next(tokens)
    return time.perf_counter() - started


def greedy(peer: Peer, ids: Sequence[int], count: int) -> list[int]:
    tokens = peer.start(ids)
    next(tokens)
    return [token for _, token in zip(range(count), tokens, strict=False)]


def bandwidth_bytes_s(threads: int) -> float:
    """What this machine reads from memory: every thread sums a large array of its own, the best of five times."""
    arrays = [np.ones(64 * 1024 * 1024 // 8) for _ in range(threads * 4)]
    best = 0.0
    for _ in range(5):
        workers = [
            threading.Thread(target=lambda part: [array.sum() for array in part], args=(arrays[i::threads],))
            for i in range(threads)
        ]
        started = time.perf_counter()
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        best = max(best, sum(array.nbytes for array in arrays) / (time.perf_counter() - started))
    return best
