"""Every member of the family, as transformers stores it, against transformers (`tests/golden/make_family.py`)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lineside.export.bundle.options import ExportOptions
from lineside.export.bundle.plan import PRECISIONS
from lineside.export.bundle.writer import export_bundle
from lineside.export.check.float64 import logits
from lineside.export.exported import Exported
from lineside.runtime.bundle import open_bundle
from lineside.runtime.sessions.selftest import relative_error
from tests.golden.family import EVERY, FOLDER, MEMBERS, STEPS
from tests.support.parity import FLOAT_TOLERANCE, member_folder, worst_error

FLOATS = ExportOptions(PRECISIONS["float32"])


@pytest.mark.parametrize("name", MEMBERS)
def test_float_logits_agree_with_transformers(name: str, tmp_path: Path) -> None:
    assert worst_error(member_folder(name, tmp_path / name), name) < FLOAT_TOLERANCE


def test_the_yardstick_scales_queries_too(tmp_path: Path) -> None:
    bundle = export_bundle(member_folder("ministral3_text", tmp_path / "m"), tmp_path / "b", FLOATS)
    with np.load(FOLDER / "ministral3_text.npz") as stored:
        ids = np.concatenate([stored["text.ids"], stored["text.steps"]])
        found = logits(Exported(open_bundle(bundle)), ids)[-1 - STEPS :, ::EVERY]
        assert relative_error(found.astype(np.float32), stored["text.logits"]) < FLOAT_TOLERANCE
