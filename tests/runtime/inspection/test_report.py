"""A user's own schema: every report satisfies it, whatever the weights and the verdict."""

from __future__ import annotations

import json
import logging
from typing import Any

import numpy as np
import pytest
from jsonschema.validators import Draft202012Validator

from lineside.runtime.engine.engine import Engine
from lineside.runtime.grammar.json_schema import UnsupportedKeyword
from lineside.runtime.inspection.inspector import Inspector
from lineside.runtime.inspection.task import InspectionTask
from lineside.runtime.inspection.verdict import Thresholds

SCHEMAS: list[Any] = [
    {
        "type": "object",
        "properties": {
            "serial": {"type": "string", "pattern": "^[A-Z]{2}[0-9]{4}$"},
            "wear_mm": {"type": "number", "minimum": 0, "maximum": 2},
            "notes": {"type": ["string", "null"], "maxLength": 12},
            "zones": {"type": "array", "items": {"$ref": "#/$defs/zone"}, "maxItems": 2},
        },
        "required": ["serial", "wear_mm", "notes"],
        "additionalProperties": False,
        "$defs": {"zone": {"enum": ["inner", "outer", "größe"]}},
    },
    {"enum": ["new", "worn", None]},
    True,
]


@pytest.mark.parametrize("schema", SCHEMAS)
@pytest.mark.parametrize("thresholds", [Thresholds(0.0, 0.0), Thresholds(1.0, 1.0)], ids=["fail", "pass"])
def test_a_report_satisfies_the_users_schema(random_engine: Engine, schema: Any, thresholds: Thresholds) -> None:
    inspector = Inspector(random_engine, InspectionTask(("pitting",), report=schema), thresholds)
    complete = 0
    for seed in range(12):
        picture = np.random.default_rng(seed).integers(0, 256, size=(40, 60, 3), dtype=np.uint8)
        inspection = inspector.inspect(picture)
        if inspection.complete:
            Draft202012Validator(schema).validate(inspection.report)
            complete += 1
        else:
            assert inspection.report is None
        if inspection.verdict == "pass":
            assert inspection.defects == ()
    assert complete or schema is True


def test_a_schema_that_cannot_be_enforced_says_where(random_engine: Engine) -> None:
    task = InspectionTask(("pitting",), report={"properties": {"a": {"not": {}}}}, report_name="cam0.json")
    with pytest.raises(UnsupportedKeyword, match=r"cam0\.json at #/properties/a/not"):
        Inspector(random_engine, task)


@pytest.mark.parametrize("thresholds", [Thresholds(0.0, 0.0), Thresholds(1.0, 1.0)], ids=["fail", "pass"])
def test_a_report_that_cannot_be_read_leaves_the_verdict(
    random_engine: Engine, thresholds: Thresholds, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The verdict was not read from the text. (No grammar of ours lets such a number through.)"""
    caplog.set_level("INFO")
    lark = r'start: "{\"verdict\":\"" ("fail" | "pass") "\",\"defects\":[],\"report\":1e999}"'
    caplog.set_level(logging.INFO, "lineside.inspection")
    loose = random_engine.grammars._constraint(json.dumps({"grammars": [{"lark_grammar": lark}]}))
    monkeypatch.setattr(random_engine.grammars, "object", lambda _: loose)
    inspector = Inspector(random_engine, InspectionTask(("pitting",), report=True), thresholds)
    inspection = inspector.inspect(np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8))
    assert inspection.verdict == ("fail" if thresholds.fail_above == 0 else "pass")
    assert (inspection.finish_reason, inspection.complete) == ("unreadable", False)
    assert (inspection.defects, inspection.report) == ((), None)
    assert "1e999" in caplog.text
