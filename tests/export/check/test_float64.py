"""The yardstick in float64 against ONNX Runtime with exact activations."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from lineside.export.bundle.options import ExportOptions
from lineside.export.bundle.plan import PRECISIONS, Precisions
from lineside.export.bundle.writer import export_bundle
from lineside.export.check import float64
from lineside.export.check.synthetic import MISTRAL_SMALL, write_synthetic
from lineside.export.exported import Exported
from lineside.runtime.bundle import open_bundle
from lineside.runtime.sessions.ort import OrtDecoder
from lineside.runtime.sessions.selftest import relative_error
from tests.support.checkpoints import CASES, copy_checkpoint
from tests.support.tokenizers import write_small_tokenizer

EXACT = dataclasses.replace(PRECISIONS["int4"], accuracy_level=0)
IDS = np.asarray([5, 99, 300, 7, 612, 613, 42, 8, 99, 300, 401])


@pytest.mark.parametrize("precisions", [EXACT, PRECISIONS["float32"]])
@pytest.mark.parametrize("case", CASES)
def test_the_session_computes_what_the_integers_mean(case: str, precisions: Precisions, tmp_path: Path) -> None:
    bundle = open_bundle(export_bundle(copy_checkpoint(case, tmp_path), tmp_path / "bundle", ExportOptions(precisions)))
    decoder = OrtDecoder(bundle, 1)
    found = decoder.decode(decoder.allocate(64), IDS.tolist(), 0)
    assert relative_error(found, float64.logits(Exported(bundle), IDS).astype(np.float32)) < 1e-5


def test_a_synthetic_bundle_computes_numbers_of_a_sensible_size(tmp_path: Path) -> None:
    write_small_tokenizer(tmp_path / "tekken.json")
    decoder = dataclasses.replace(
        MISTRAL_SMALL.decoder,
        hidden_size=256,
        intermediate_size=512,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=64,
        context_length=1024,
    )
    network = dataclasses.replace(MISTRAL_SMALL, decoder=decoder, vision=None)
    bundle = open_bundle(write_synthetic(tmp_path / "b", network, tmp_path / "tekken.json", layers=8))
    logits = float64.logits(Exported(bundle), IDS)
    assert 0.1 < logits.std() < 10
    session = OrtDecoder(bundle, 1)
    found = session.decode(session.allocate(64), IDS.tolist(), 0)
    assert relative_error(found, logits.astype(np.float32)) < 0.1  # activations of 8 bits
