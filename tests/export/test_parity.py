"""Exported graphs against transformers, on the stored cases (see tests/golden/make_parity.py)."""

from __future__ import annotations

import numpy as np
import pytest

from export.bundle_writer import PRECISIONS, export_bundle
from runtime.engine import Engine
from runtime.selftest import relative_error
from tests.golden.prompts import PROMPTS, prompts
from tests.support.checkpoints import CASES, GOLDEN, copy_checkpoint

FLOAT_TOLERANCE = 1e-4
CHUNKS = (1, 7, 64, 512)


@pytest.fixture(scope="module", params=CASES)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Engine]:
    folder = tmp_path_factory.mktemp("parity")
    checkpoint = copy_checkpoint(request.param, folder)
    return request.param, Engine.open(export_bundle(checkpoint, folder / "bundle", precisions=PRECISIONS["float32"]))


@pytest.mark.parametrize("name", PROMPTS)
@pytest.mark.parametrize("chunk", CHUNKS)
def test_float_logits_agree_with_transformers(
    case: tuple[str, Engine], name: str, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    label, engine = case
    monkeypatch.setattr("runtime.engine.PREFILL_CHUNK", chunk)
    with np.load(GOLDEN / label / "expected.npz") as stored:
        ids, steps, logits = (stored[f"{name}.{part}"] for part in ("ids", "steps", "logits"))
    prompt = prompts(engine.tokenizer)[name]
    np.testing.assert_array_equal(prompt.ids, ids)
    sequence = engine.prefill(prompt, reserve=len(steps))
    assert relative_error(sequence.logits, logits[0]) < FLOAT_TOLERANCE
    for step, expected in zip(steps, logits[1:], strict=True):
        engine.extend(sequence, np.asarray([step]))
        assert relative_error(sequence.logits, expected) < FLOAT_TOLERANCE
