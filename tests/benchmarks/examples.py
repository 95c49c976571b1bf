"""What a station's examples cost per frame: `python -m tests.benchmarks.examples [BUNDLE]`, with figures as JSON.

So many pictures of the demo are shown before each of the others, turn about with none. Times are of the processor, on
one thread, so that the machine's load counts little. `times_none` is the median of a frame's time over that of the same
frame without examples; no frame's embeddings are remembered. `anew_ms` is with empty caches: the examples are computed
for each frame. `start_ms` is what they take once.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from dataclasses import replace
from pathlib import Path

from lineside.runtime.chat import Picture
from lineside.runtime.defaults import DEFAULT_BUNDLE
from lineside.runtime.engine.engine import Engine, Limits
from lineside.runtime.inspection.inspector import Inspector
from lineside.runtime.inspection.task import Example, InspectionTask
from lineside.runtime.picture import decode_picture
from tests.benchmarks.own import PICTURES

SHOWN = (0, 2, 4, 8)
ROUNDS = 6
CAPACITY = 4096


def main() -> None:
    bundle = Path(sys.argv[1]) if sys.argv[1:] else DEFAULT_BUNDLE
    engine = Engine.open(bundle, threads=1, limits=Limits(CAPACITY, kv_cache_bytes=1 << 30))
    labels = json.loads((PICTURES[0].parent.parent / "labels.json").read_text())
    examples = [Example(decode_picture(path.read_bytes()), labels[path.name]["verdict"]) for path in PICTURES[:8]]
    frames = [decode_picture(path.read_bytes()) for path in PICTURES[8:]]
    task = InspectionTask(("pitting",), part="ball screw", any_way_up=False)
    began: dict[int, float] = {}
    inspectors: dict[int, Inspector] = {}
    for count in SHOWN:
        started = time.process_time()
        inspectors[count] = Inspector(engine, replace(task, examples=tuple(examples[:count])))
        began[count] = (time.process_time() - started) * 1e3
        inspectors[count].probabilities(frames[0])
    times: dict[int, list[float]] = {count: [] for count in SHOWN}
    anew: dict[int, list[float]] = {count: [] for count in SHOWN}
    for number in range(ROUNDS * len(frames)):
        for count, inspector in inspectors.items():
            _forget_pictures(engine)
            times[count].append(_ms(inspector, frames[number % len(frames)]))
    for count, inspector in inspectors.items():
        for frame in frames:
            engine.pool.clear()
            _forget_pictures(engine)
            anew[count].append(_ms(inspector, frame))
    for count, inspector in inspectors.items():
        found = inspector.inspect(frames[0])
        row = {
            "examples": count,
            "prompt_tokens": found.observations[0].counts.prompt,
            "frame_ms": round(statistics.median(times[count]), 1),
            "times_none": round(statistics.median(a / b for a, b in zip(times[count], times[0], strict=True)), 3),
            "anew_ms": round(statistics.median(anew[count]), 1),
            "start_ms": round(began[count], 1),
            "kv_mb": round(found.observations[0].counts.prompt * engine.bundle.manifest.kv.bytes_per_token / 1e6, 1),
        }
        sys.stdout.write(json.dumps(row) + "\n")


def _ms(inspector: Inspector, frame: Picture) -> float:
    started = time.process_time()
    inspector.probabilities(frame)
    return (time.process_time() - started) * 1e3


def _forget_pictures(engine: Engine) -> None:
    if engine.vision_cache is not None:
        engine.vision_cache.clear()


if __name__ == "__main__":
    main()
