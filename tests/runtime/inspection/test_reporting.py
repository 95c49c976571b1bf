"""With a schema, verdict and defects are what they are without: real pictures, the default model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from jsonschema.validators import Draft202012Validator

from lineside.runtime.engine.engine import Engine
from lineside.runtime.inspection.inspector import Inspector
from lineside.runtime.inspection.task import InspectionTask
from lineside.runtime.picture import decode_picture
from tests.conftest import PICTURES, ROOT

SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["pits", "remark"],
    "additionalProperties": False,
    "properties": {
        "pits": {"type": "integer", "minimum": 0, "maximum": 20},
        "remark": {"enum": ["clean", "one pit", "several pits"]},
    },
}
BOARDS = ROOT / "deploy/stations/boards"


def both(engine: Engine, task: InspectionTask, path: Path) -> None:
    picture = decode_picture(path.read_bytes())
    without, reporting = Inspector(engine, task), Inspector(engine, replace(task, report=SCHEMA))
    engine.pool.clear()  # what it holds is not computed anew, and so rounded otherwise
    plain = without.inspect(picture)
    engine.pool.clear()
    reported = reporting.inspect(picture)
    Draft202012Validator(SCHEMA).validate(reported.report)
    assert reported.verdict == plain.verdict
    assert reported.fail_probability == pytest.approx(plain.fail_probability, abs=0.02)
    assert [defect.type for defect in reported.defects] == [defect.type for defect in plain.defects]
    for one, other in zip(reported.defects, plain.defects, strict=True):
        assert one.box == pytest.approx(other.box, abs=7)
    assert reported.complete
    assert reported.counts.prompt > plain.counts.prompt


@pytest.mark.parametrize("path", PICTURES, ids=lambda path: path.name)
def test_a_schema_changes_no_verdict(default_engine: Engine, path: Path) -> None:
    both(default_engine, InspectionTask(("pitting",)), path)


def test_a_schema_changes_no_board(default_engine: Engine) -> None:
    reference = decode_picture((BOARDS / "reference.png").read_bytes())
    types = ("open", "short", "mousebite", "spur", "spurious_copper", "pinhole")
    both(default_engine, InspectionTask(types, reference=reference), BOARDS / "board.png")
