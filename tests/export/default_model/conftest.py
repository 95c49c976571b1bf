"""What the tests of the recipe share."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lineside.export.default_model.data import ballscrew, spoken_tools
from lineside.export.default_model.data.packs import CHATTER
from lineside.export.evaluation.cases import held_out_texts
from lineside.runtime.engine.engine import Engine
from lineside.runtime.inspection.verdict import Defect
from lineside.runtime.picture import decode_picture
from lineside.runtime.text.tokenizer import Tokenizer
from tests.conftest import ROOT

SCREWS = ROOT / "deploy/stations/ballscrew"


@pytest.fixture(scope="module")
def examples() -> list[ballscrew.Example]:
    labels = json.loads((SCREWS / "labels.json").read_text())
    return [
        ballscrew.Example(
            name,
            "p",
            decode_picture((SCREWS / "pictures" / name).read_bytes()),
            tuple(Defect(d["type"], tuple(d["box"])) for d in label["defects"]),
        )
        for name, label in labels.items()
    ]


@pytest.fixture(scope="module")
def tokenizer(default_engine: Engine) -> Tokenizer:
    return default_engine.tokenizer


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Public data sets in miniature: a dozen utterances for every intent, and one that the evaluation keeps."""
    folder = tmp_path_factory.mktemp("commands")
    hwu64, snips = [], []
    for table, spec in spoken_tools.SPOKEN.items():
        intent, either = spec.get("intent", table), spec.get("either", {})
        for number in range(12):
            names = list(spec["slots"])[: number % (len(spec["slots"]) + 1)]
            slots = [either[name][0] if name in either else name for name in names]
            words = [f"{'7' if slot in spoken_tools.WHOLE_NUMBERS else f'{slot} {number}'}" for slot in slots]
            if intent[0].isupper():
                pairs = [{"slot": slot, "value": word} for slot, word in zip(slots, words, strict=True)]
                snips.append({"intent": intent, "text": f"Do {intent} {' '.join(words)}", "slots": pairs})
            else:
                marked = " ".join(f"[{slot} : {word}]" for slot, word in zip(slots, words, strict=True))
                text = f"do {intent} {' '.join(words)}"
                hwu64.append({"intent": intent, "text": text, "annotated": f"do {intent} {marked}"})
    kept = min(held_out_texts("hwu64"))
    hwu64.append({"intent": "alarm_query", "text": kept, "annotated": kept})
    hwu64 += [{"intent": intent, "text": "well done", "annotated": "well done"} for intent in CHATTER]
    for name, rows in (("hwu64", hwu64), ("snips", snips), ("clinc_oos", [{"text": "how tall is a giraffe"}])):
        (folder / f"{name}_train.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder
