"""Where the time of a request goes, what it took, and why it ended."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any, Literal, TypeVar

Fields = TypeVar("Fields", bound=Any)
FinishReason = Literal["stop", "length", "repetition", "deadline", "cancelled", "unreadable"]
"""Why an answer ended.

`stop` is the end token, or the end of the grammar; `length` the budget; `repetition` a loop. After `unreadable` the
model came to its end, but a call that it wrote, or its report, is no JSON that others could read.
"""


@dataclass
class Timings:
    """Milliseconds of each stage of a request; `queue_ms` is the time it waited for its turns and its cache."""

    gate_ms: float = 0.0
    preprocess_ms: float = 0.0
    queue_ms: float = 0.0
    vision_ms: float = 0.0
    prefill_ms: float = 0.0
    decode_ms: float = 0.0


@dataclass
class Counts:
    """Tokens of a request: of its prompt, of those that the cache held already, generated; and its decode passes."""

    prompt: int = 0
    reused: int = 0
    generated: int = 0
    passes: int = 0


@dataclass(frozen=True)
class Spent:
    """What a request of the engine came to. `first_token_ms` is None where it ended before its prompt was read."""

    timings: Timings
    counts: Counts
    first_token_ms: float | None


def total(several: Sequence[Fields]) -> Fields:
    """Dataclasses of numbers, such as `Timings`, added field by field; raises IndexError where there is none."""
    kind = type(several[0])
    added: Fields = kind(*(sum(getattr(each, field.name) for each in several) for field in fields(kind)))
    return added


@contextmanager
def stopwatch(timings: Timings, stage: str) -> Iterator[None]:
    """Add the time inside the block to `timings.{stage}_ms`."""
    started = time.perf_counter()
    try:
        yield
    finally:
        name = f"{stage}_ms"
        setattr(timings, name, getattr(timings, name) + (time.perf_counter() - started) * 1e3)
