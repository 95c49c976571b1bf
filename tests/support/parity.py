"""A bundle of one of the family's tiny checkpoints against what transformers computes for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lineside.export.bundle.options import ExportOptions
from lineside.export.bundle.plan import PRECISIONS, Precisions
from lineside.export.bundle.writer import export_bundle
from lineside.runtime.engine.engine import Engine
from lineside.runtime.sessions.selftest import relative_error
from tests.golden.family import ADAPTED, EVERY, FOLDER, MEMBERS, write_member
from tests.golden.prompts import prompts
from tests.support.tokenizers import write_small_tokenizer

FLOAT_TOLERANCE = 1e-4


def member_folder(name: str, folder: Path) -> Path:
    """The checkpoint as transformers stores it, with a tokenizer."""
    write_member(name, folder)
    write_small_tokenizer(folder / "tekken.json", merge=MEMBERS[name].merge or 2)
    return folder


def worst_error(
    checkpoint: Path, name: str, precisions: Precisions = PRECISIONS["float32"], adapter: Path | None = None
) -> float:
    """Export `checkpoint`, and compare it with the member `name`: prefill and every decode step of each prompt."""
    target = checkpoint.with_name(f"{checkpoint.name}-bundle")
    bundle = export_bundle(checkpoint, target, ExportOptions(precisions), adapter=adapter)
    member = MEMBERS[ADAPTED.get(name, name)]
    engine = Engine.open(bundle, threads=1)
    known = prompts(engine.tokenizer) if member.merge else {"text": prompts(engine.tokenizer)["text"]}
    worst = 0.0
    with np.load(FOLDER / f"{name}.npz") as stored:
        for prompt in member.prompts:
            ids, steps, logits = (stored[f"{prompt}.{part}"] for part in ("ids", "steps", "logits"))
            np.testing.assert_array_equal(known[prompt].ids, ids)
            with engine.sequence(known[prompt], reserve=len(steps)) as sequence:
                worst = max(worst, relative_error(sequence.logits[::EVERY], logits[0]))
                for step, expected in zip(steps, logits[1:], strict=True):
                    sequence.extend(np.asarray([step]))
                    worst = max(worst, relative_error(sequence.logits[::EVERY], expected))
    return worst
