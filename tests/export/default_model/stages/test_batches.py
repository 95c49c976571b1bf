"""What a step is trained to write, and where."""

from __future__ import annotations

import json

import numpy as np

from lineside.export.default_model.data import ballscrew, pcb
from lineside.export.default_model.data.pack import IGNORE, SHARED
from lineside.export.default_model.stages.batches import TYPE_WEIGHT, boxes_written, in_order, inspection_pack
from lineside.runtime.inspection.task import grid_box
from lineside.runtime.inspection.verdict import Defect
from lineside.runtime.text.tokenizer import Tokenizer
from tests.conftest import ROOT

SCREWS = ROOT / "deploy/stations/ballscrew"


def test_labels_stand_one_before_their_tokens(tokenizer: Tokenizer, examples: list[ballscrew.Example]) -> None:
    same_size = [example for example in examples if example.picture.shape == examples[0].picture.shape]
    regions = [ballscrew.region(example, np.random.default_rng(at)) for at, example in enumerate(same_size)]
    pack, pixels = inspection_pack(same_size, ballscrew.TASK, tokenizer, regions)
    assert len(pixels) == 1
    begun = int((pack.owner == SHARED).sum())
    for number, example in enumerate(same_size):
        own = np.flatnonzero(pack.owner == number)
        np.testing.assert_array_equal(pack.positions[own], begun + np.arange(len(own)))
        at = own[pack.labels[own] != IGNORE]
        np.testing.assert_array_equal(pack.ids[at + 1], pack.labels[at])
        answer = tokenizer.decode(pack.labels[at])
        assert json.loads(answer.removesuffix("</s>"))["verdict"] == example.verdict
        heaviest = pack.ids[own[int(pack.weights[own].argmax())] + 1]
        assert example.verdict.startswith(tokenizer.decode([heaviest]))


def test_each_number_knows_its_box(tokenizer: Tokenizer) -> None:
    picture = np.zeros((240, 576, 3), np.uint8)
    small, large = Defect("pitting", (300.0, 0.0, 380.0, 60.0)), Defect("pitting", (10.0, 20.0, 58.0, 239.0))
    screws = [ballscrew.Example("x", "p", picture, defects) for defects in ((), (small, large), (small,))]
    pack, _ = inspection_pack(screws, ballscrew.TASK, tokenizer)
    boxes = boxes_written(pack, tokenizer)
    for number, screw in enumerate(screws):
        for at, defect in enumerate(in_order(screw).defects):
            text = tokenizer.decode([int(i) for i in pack.labels[(pack.owner == number) & (boxes == at)]])
            assert json.loads(f"[{text}") == grid_box(defect.box, 576, 240)
    assert in_order(screws[1]).defects == (large, small)
    assert boxes.max() == 1


def test_types_are_learnt_where_they_part(tokenizer: Tokenizer) -> None:
    """`spur` goes on like `spurious_copper`: what follows it weighs as much as what begins another name."""
    picture = np.zeros((192, 192, 3), np.uint8)
    views = [
        ballscrew.Example("x", "p", picture, (Defect(name, (48.0, 48.0, 140.0, 140.0)),), picture) for name in pcb.TYPES
    ]
    pack, _ = inspection_pack(views, pcb.TASK, tokenizer)
    told = {}
    for number, view in enumerate(views):
        at = np.flatnonzero((pack.owner == number) & (pack.weights == TYPE_WEIGHT))
        told[view.defects[0].type] = tokenizer.decode([int(i) for i in pack.labels[at]])
    assert told["spur"].startswith("spur")
    assert told["spur"].endswith('",')
    assert told["spurious_copper"] == told["spur"].removesuffix('",') + "ious"
    assert told["open"] == "open"
    assert all(name.startswith(told[name]) for name in ("short", "mousebite", "pinhole"))
