"""Exported graphs against transformers, on the stored cases (see tests/golden/make_parity.py)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lineside.export.bundle.options import ExportOptions
from lineside.export.bundle.plan import PRECISIONS
from lineside.export.bundle.writer import export_bundle
from lineside.runtime.engine.engine import Engine
from lineside.runtime.engine.sequence import Chunking
from lineside.runtime.sessions.selftest import relative_error
from tests.golden.prompts import PROMPTS, prompts
from tests.support.checkpoints import CASES, GOLDEN, copy_checkpoint

FLOAT_TOLERANCE = 1e-4
CHUNKS = (1, 7, 64, 512)


@pytest.fixture(scope="module", params=CASES)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    folder = tmp_path_factory.mktemp("parity")
    checkpoint = copy_checkpoint(request.param, folder)
    return request.param, export_bundle(checkpoint, folder / "bundle", ExportOptions(PRECISIONS["float32"]))


@pytest.mark.parametrize("name", PROMPTS)
@pytest.mark.parametrize("chunk", CHUNKS)
def test_float_logits_agree_with_transformers(
    case: tuple[str, Path], name: str, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    label, bundle = case
    engine = Engine.open(bundle)
    monkeypatch.setattr(engine, "chunking", Chunking(tokens=chunk))
    with np.load(GOLDEN / label / "expected.npz") as stored:
        ids, steps, logits = (stored[f"{name}.{part}"] for part in ("ids", "steps", "logits"))
    prompt = prompts(engine.tokenizer)[name]
    np.testing.assert_array_equal(prompt.ids, ids)
    with engine.sequence(prompt, reserve=len(steps)) as sequence:
        assert relative_error(sequence.logits, logits[0]) < FLOAT_TOLERANCE
        for step, expected in zip(steps, logits[1:], strict=True):
            sequence.extend(np.asarray([step]))
            assert relative_error(sequence.logits, expected) < FLOAT_TOLERANCE
