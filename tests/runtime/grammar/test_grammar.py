"""Whatever the weights: what is generated under a grammar satisfies it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lineside.export.bundle.writer import export_bundle
from lineside.runtime.chat import Tool
from lineside.runtime.engine.engine import Engine
from lineside.runtime.engine.sampling import Sampling
from lineside.runtime.errors import GrammarError, GrammarTooLarge, Unsatisfiable
from lineside.runtime.inspection.inspector import Inspector
from lineside.runtime.inspection.task import InspectionTask
from lineside.runtime.inspection.verdict import Thresholds
from tests.support.checkpoints import copy_checkpoint

TOOLS = [
    Tool("stop", "Stop.", {"type": "object", "properties": {}, "additionalProperties": False}),
    Tool(
        "set_belt_speed",
        "Set the speed.",
        {
            "type": "object",
            "properties": {"percent": {"type": "integer", "minimum": 0, "maximum": 100}, "lane": {"enum": ["a", "ü"]}},
            "required": ["percent", "lane"],
            "additionalProperties": False,
        },
    ),
]


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([("pitting",), ("open", "short", "mousebite")]))
def test_random_weights_inspect_into_the_schema(random_engine: Engine, seed: int, kinds: tuple[str, ...]) -> None:
    """Thresholds of zero make every verdict `fail`, so that the list of defects is always generated."""
    task = InspectionTask(kinds)
    picture = np.random.default_rng(seed).integers(0, 256, size=(60, 90, 3), dtype=np.uint8)
    inspection = Inspector(random_engine, task, Thresholds(0.0, 0.0)).inspect(picture)
    assert inspection.verdict in ("fail", "unsure")
    assert 0 <= inspection.fail_probability <= 1
    for defect in inspection.defects:
        assert defect.type in kinds
        x0, y0, x1, y1 = defect.box
        assert 0 <= x0 < x1 <= 90
        assert 0 <= y0 < y1 <= 60


def test_inspection_text_satisfies_the_schema(random_engine: Engine) -> None:
    task = InspectionTask(("pitting", "crack"))
    schema = {"properties": task.properties(), "required": ["verdict", "defects"], "additionalProperties": False}
    for seed in range(10):
        constraint = random_engine.grammars.object(task.properties())
        prompt = random_engine.tokenizer.encode_chat(task.messages(np.zeros((30, 30, 3), np.uint8)))
        with random_engine.sequence(prompt, reserve=400) as sequence:
            generation = random_engine.generate(
                sequence, max_tokens=400, sampling=Sampling(5.0, seed), constraint=constraint
            )
        if generation.finish_reason == "stop":
            jsonschema.validate(json.loads(random_engine.tokenizer.decode(generation.ids)), schema)


def test_a_schema_that_cannot_be_expressed_is_refused(random_engine: Engine) -> None:
    with pytest.raises(GrammarError, match=r"at #/minProperties: not a JSON Schema"):
        random_engine.grammars.json({"type": "object", "minProperties": "many"})


@pytest.mark.parametrize("version", ["v3", "v7", "v11"])
def test_older_tokenizers_inspect_and_call(tmp_path: Path, version: str) -> None:
    """Mistral Small 3.1 has a v7 tokenizer: inspection and calls work."""
    checkpoint = copy_checkpoint("tied", tmp_path, version)
    engine = Engine.open(export_bundle(checkpoint, tmp_path / "bundle"), threads=1)
    picture = np.zeros((40, 60, 3), np.uint8)
    assert (
        Inspector(engine, InspectionTask(("pitting",), part="ball screw"), Thresholds(0.0, 0.0))
        .inspect(picture)
        .complete
    )
    engine.grammars.tools(TOOLS)


def test_a_token_outside_the_grammar_is_refused(random_engine: Engine) -> None:
    constraint = random_engine.grammars.object(InspectionTask(("pitting",), part="ball screw").properties())
    with pytest.raises(GrammarError):
        constraint.accept(random_engine.tokenizer.encode_text("hello").tolist())


@pytest.mark.parametrize(
    ("schema", "error"),
    [
        ({"type": "integer", "minimum": 5, "maximum": 3}, Unsatisfiable),
        ({"allOf": [{"type": "integer"}, {"type": "string"}]}, Unsatisfiable),
        ({"enum": []}, Unsatisfiable),
        ({"$ref": "#"}, GrammarError),
        ({"type": "string", "pattern": "("}, GrammarError),
        ({"not": {}}, GrammarError),
        ({"enum": ["x" * 1000 + str(i) for i in range(1000)]}, GrammarTooLarge),
        ({"const": {1, 2}}, GrammarError),
    ],
)
def test_bad_schemas_are_typed_errors(random_engine: Engine, schema: dict[str, Any], error: type[GrammarError]) -> None:
    with pytest.raises(error):
        random_engine.grammars.json(schema)
    assert random_engine.grammars.json({"type": "boolean"}).mask().any()


def test_endless_schemas_are_refused(random_engine: Engine) -> None:
    endless: dict[str, Any] = {"type": "array"}
    endless["items"] = endless
    deep: dict[str, Any] = {"type": "integer"}
    for _ in range(5000):
        deep = {"type": "array", "items": deep}
    with pytest.raises(GrammarError, match="Circular reference"):
        random_engine.grammars.json(endless)
    with pytest.raises(GrammarTooLarge, match="nested too deeply"):
        random_engine.grammars.json(deep)
