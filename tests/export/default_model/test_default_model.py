"""The recipe of the default model: its data and figures. Training itself needs torch and is run by `make model`."""

from __future__ import annotations

import json
import re
import string
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lineside.export.default_model.data import ballscrew, commands, made_up, offers, pcb, spoken_tools
from lineside.export.default_model.data.machine_tools import line_offer, machine_offer
from lineside.export.default_model.data.offers import LANGUAGES, held_out_names
from lineside.export.default_model.data.pack import IGNORE, SHARED
from lineside.export.default_model.data.packs import CHATTER, Line, Packer
from lineside.export.default_model.data.spoken_tools import merged_offer, spoken_offer
from lineside.export.default_model.data.written_tools import written_offer, written_tools
from lineside.export.default_model.networks.dense import CELLS, by_token, cell_map, token_boxes, token_shares
from lineside.export.default_model.scoring.evaluate import SCREW_IOU, inspect_all, score_inspections
from lineside.export.default_model.scoring.publish import card
from lineside.export.default_model.scoring.scores import Matches, auroc, iou, match
from lineside.export.default_model.stages.batches import TYPE_WEIGHT, boxes_written, in_order, inspection_pack
from lineside.export.evaluation.cases import held_out_texts, load_cases
from lineside.export.evaluation.run import report
from lineside.export.evaluation.scoring import Outcome
from lineside.runtime.chat import ToolCall
from lineside.runtime.defaults import DEFAULT_BUNDLE
from lineside.runtime.engine.engine import Engine
from lineside.runtime.inspection.task import grid_box
from lineside.runtime.inspection.verdict import Defect
from lineside.runtime.picture import decode_picture
from lineside.runtime.text.tokenizer import Tokenizer
from lineside.runtime.text.tool_calls import parse_tool_calls
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


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 10**6))
def test_offered_tools_are_new_and_their_commands_satisfy_them(spoken: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = [row for rows in written_tools().values() for row in rows]
    written = written_offer(rows[int(rng.integers(len(rows)))], rng)
    offers = (spoken_offer(spoken, rng), merged_offer(spoken, rng), written, machine_offer(rng), line_offer(rng))
    offer = offers[seed % 5]
    assert offer.tool.name not in held_out_names()
    jsonschema.Draft202012Validator.check_schema(offer.tool.parameters)
    for language in LANGUAGES:
        said = offer.say(rng, language)
        if said is None:
            continue
        text, arguments = said
        assert text.strip()
        assert "{" not in text
        jsonschema.validate(arguments, offer.tool.parameters)
        assert list(arguments) == [name for name in offer.tool.parameters["properties"] if name in arguments]


def test_an_intent_with_four_times_the_utterances_is_drawn_twice_as_often(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = {name: (spoken_tools.Utterance("x", ()),) * 5 for name in spoken_tools.SPOKEN}
    monkeypatch.setattr(spoken_tools, "utterances", lambda _: rows | {"PlayMusic": rows["PlayMusic"] * 4})
    names, odds = spoken_tools._intent_odds(Path("nowhere"))
    assert sum(odds) == pytest.approx(1)
    assert odds[names.index("PlayMusic")] == pytest.approx(2 * odds[names.index("RateBook")])


def test_the_words_of_a_command_are_those_of_its_arguments(spoken: Path) -> None:
    """What is to be copied stands in the command, also where it was exchanged or made up."""
    for seed in range(400):
        rng = np.random.default_rng(seed)
        rows = [row for rows in written_tools().values() for row in rows]
        offer = spoken_offer(spoken, rng) if seed % 2 else written_offer(rows[int(rng.integers(len(rows)))], rng)
        said = offer.say(rng, "en")
        if said is None:
            continue
        for name, value in said[1].items():
            if offer.tool.parameters["properties"][name].get("type") == "string":
                assert value.casefold() in said[0].casefold()


def test_every_written_tool_can_be_asked_for_in_every_language() -> None:
    names: list[str] = []
    for row in (row for rows in written_tools().values() for row in rows):
        parameters = row.get("parameters", {})
        names += row["names"]
        for language in LANGUAGES:
            for phrase in row["phrases"][language]:
                said, given = (phrase, {}) if isinstance(phrase, str) else (phrase["say"], phrase["with"])
                spoken_ones = {field for _, field, _, _ in string.Formatter().parse(said) if field is not None}
                assert spoken_ones <= parameters.keys(), said
                assert set(row["required"]) <= spoken_ones | given.keys(), said
                assert not any(parameters[name].get("boolean") for name in spoken_ones), said
        for spec in parameters.values():
            assert all(set(LANGUAGES) <= wordings.keys() for wordings in spec.get("enum", {}).values())
    assert len(names) > 1000
    assert not set(names) & held_out_names()


def test_no_written_phrase_is_one_of_the_evaluation() -> None:
    kept = {_words(case.text) for case in load_cases()}
    for row in (row for rows in written_tools().values() for row in rows):
        for phrase in (phrase for language in LANGUAGES for phrase in row["phrases"][language]):
            assert _words(phrase if isinstance(phrase, str) else phrase["say"]) not in kept


def _words(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.casefold()))


def test_made_up_texts_are_new() -> None:
    rng = np.random.default_rng(5)
    texts = [made_up.text(["Blue Monday", "Take On Me"], rng) for _ in range(500)]
    assert all(text.strip() == text != "" for text in texts)
    assert len(set(texts)) > 350


@pytest.mark.parametrize("seed", range(8))
def test_a_name_that_is_alone_of_its_kind_may_be_exchanged(seed: int) -> None:
    alone = spoken_tools.Utterance("play Rosalinde", (("track", "Rosalinde"),))
    rows = [*[spoken_tools.Utterance("play", ())] * 400, alone]
    drawn = spoken_tools._exchanged(alone, rows, np.random.default_rng(seed))
    assert drawn.text == f"play {drawn.slots[0][1]}"


def test_what_the_evaluation_keeps_is_never_drawn(spoken: Path) -> None:
    texts = {row.text for rows in spoken_tools.utterances(spoken).values() for row in rows}
    assert len(texts) > 500
    assert not texts & (held_out_texts("hwu64") | held_out_texts("snips"))
    with pytest.raises(ValueError, match="is a tool of the evaluation"):
        offers.make_tool(min(held_out_names()), "", {}, [])


def test_a_command_in_a_pack_stands_as_it_would_alone(tokenizer: Tokenizer, spoken: Path) -> None:
    """Same ids at the same positions as a prompt of its own, and it sees nothing of its neighbours."""
    packer = Packer(spoken, tokenizer)
    tools = [commands.TOOLS["set_light"], commands.TOOLS["stop_line"]]
    call = ToolCall(commands.CALL_ID, "set_light", {"percent": 40})
    lines = [Line("stop", ()), Line("dim the light to 40%", (call,))]
    pack = packer.pack(commands.SYSTEM_TEXT, tools, lines)
    for number, line in enumerate(lines):
        own = (pack.owner == number) | (pack.owner == -1)
        prompt = tokenizer.encode_chat(commands.command_messages(line.text), tools).ids
        ids = pack.ids[own]
        np.testing.assert_array_equal(ids[: len(prompt)], prompt)
        np.testing.assert_array_equal(pack.positions[own], np.arange(own.sum()))
        labels = pack.labels[own]
        at = np.flatnonzero(labels != IGNORE)
        np.testing.assert_array_equal(ids[at + 1], labels[at])
        assert at[0] == len(prompt) - 1
        _, calls = parse_tool_calls(tokenizer, labels[at].tolist())
        assert [(c.name, c.arguments) for c in calls] == [(c.name, c.arguments) for c in line.calls]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6))
def test_packs_are_whole(tokenizer: Tokenizer, spoken: Path, seed: int) -> None:
    pack = Packer(spoken, tokenizer).draw(np.random.default_rng(seed))
    assert len({len(column) for column in (pack.ids, pack.labels, pack.positions, pack.weights, pack.owner)}) == 1
    assert set(pack.owner) == set(range(-1, pack.owner.max() + 1))
    assert ((pack.weights > 0) == (pack.labels != IGNORE)).all()


@settings(max_examples=200)
@given(st.integers(0, 10**6))
def test_commands_are_right_and_never_leak_a_test_phrase(seed: int) -> None:
    test_phrases = {phrase for phrases in commands.TEST_PHRASES.values() for phrase in phrases if "{" not in phrase}
    command = commands.make_command(np.random.default_rng(seed), commands.TRAIN_PHRASES, ["who are you"])
    assert command.text not in test_phrases
    offered = {tool.name: tool for tool in command.tools}
    assert len(offered) == len(command.tools) > 0
    if command.call is not None:
        jsonschema.validate(dict(command.call.arguments), offered[command.call.name].parameters)


def test_training_leaves_out_what_the_evaluation_keeps(tmp_path: Path) -> None:
    kept = sorted(held_out_texts("clinc"))
    lines = [json.dumps({"text": text}) for text in [*kept, "how tall is a giraffe"]]
    (tmp_path / "clinc_oos_train.jsonl").write_text("\n".join(lines))
    assert commands.out_of_scope(tmp_path) == ["how tall is a giraffe"]


def test_what_was_written_to_fit_no_tool_is_not_the_evaluation() -> None:
    def words(text: str) -> set[str]:
        return set(re.findall(r"\w+", text.casefold()))

    written = commands.written_out_of_scope()
    assert len(set(written)) == len(written) > 500
    kept = [words(case.text) for case in load_cases()]
    for text in written:
        own = words(text)
        assert max(len(own & other) / len(own | other) for other in kept) < 0.6, text


def test_no_phrase_is_in_both_sets() -> None:
    for key, phrases in commands.TEST_PHRASES.items():
        assert not set(phrases) & set(commands.TRAIN_PHRASES[key])


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


def board(rng: np.random.Generator) -> ballscrew.Example:
    """A made-up pair of scans with three defects."""
    reference = np.broadcast_to((rng.random((640, 640, 1)) < 0.5).astype(np.uint8) * 255, (640, 640, 3))
    boxes = ((20, 30, 60, 55), (300, 310, 330, 345), (600, 20, 636, 50))
    defects = tuple(Defect(pcb.TYPES[at], box) for at, box in enumerate(boxes))
    picture = reference.copy()
    for at, (x0, y0, x1, y1) in enumerate(boxes):
        picture[y0:y1, x0:x1] = 40 + at
    return ballscrew.Example("b", "b", picture, defects, reference)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6))
def test_boards_are_turned_and_cut_with_their_labels(seed: int) -> None:
    rng = np.random.default_rng(seed)
    varied = pcb.augment(board(rng), rng)
    assert varied.reference is not None
    assert varied.picture.shape == varied.reference.shape
    for defect in varied.defects:
        x0, y0, x1, y1 = (round(value) for value in defect.box)
        assert (varied.picture[y0:y1, x0:x1] == 40 + pcb.TYPES.index(defect.type)).all()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6))
def test_what_a_label_of_a_board_holds_stays_in_it(seed: int) -> None:
    picture = np.zeros((192, 192, 3), np.uint8)
    picture[80:95, 60:130] = 255
    view = ballscrew.Example("x", "p", picture, (Defect("open", (60.0, 80.0, 130.0, 95.0)),), picture)
    warped = pcb.warp(view, np.random.default_rng(seed))
    rows, columns = np.nonzero(warped.picture[..., 0] > 127)
    x0, y0, x1, y1 = warped.defects[0].box
    assert x0 - 1.5 <= columns.min()
    assert columns.max() <= x1 + 1.5
    assert y0 - 1.5 <= rows.min()
    assert rows.max() <= y1 + 1.5
    assert warped.reference is not None
    np.testing.assert_array_equal(warped.reference, warped.picture)


def test_each_defect_of_a_board_is_seen_close_up() -> None:
    reference = np.zeros((640, 640, 3), np.uint8)
    reference[:, ::40] = 255
    boxes = ((22.0, 30.0, 36.0, 42.0), (300.0, 310.0, 318.0, 330.0), (612.0, 8.0, 628.0, 22.0))
    defects = tuple(Defect(pcb.TYPES[at], box) for at, box in enumerate(boxes))
    picture = reference.copy()
    for x0, y0, x1, y1 in boxes:
        picture[int(y0) : int(y1), int(x0) : int(x1)] = 255
    views = pcb.close_ups(ballscrew.Example("b", "b", picture, defects, reference))
    assert sorted(view.defects[0].type for view in views) == sorted(defect.type for defect in defects)
    for view in views:
        assert view.reference is not None
        assert view.picture.shape == view.reference.shape
        x0, y0, x1, y1 = (round(v) for v in view.defects[0].box)
        assert view.picture[y0 + 2 : y1 - 2, x0 + 2 : x1 - 2, 0].min() > 200
        assert view.reference[y0 + 2 : y1 - 2, x0 + 2 : x1 - 2].max() < 50


def test_each_token_knows_its_defects() -> None:
    picture = np.zeros((192, 192, 3), np.uint8)
    example = ballscrew.Example("x", "p", picture, (Defect("short", (52.0, 4.0, 76.0, 28.0)),))
    maps = by_token(cell_map(example, (192, 192), pcb.TYPES))
    boxes = token_boxes(example, (192, 192))
    assert maps.shape == (16, CELLS * 6)
    short = maps.reshape(16, CELLS, 6)[..., pcb.TYPES.index("short")]
    assert set(np.flatnonzero(short.any(1))) == {1}, "the second token of the first row"
    np.testing.assert_array_equal(short[1].reshape(3, 3), [[1, 1, 0], [1, 1, 0], [0, 0, 0]])
    np.testing.assert_allclose(boxes[1] * 48 + 24, [4, 4, 28, 28])
    assert np.isnan(np.delete(boxes, 1, 0)).all()


def test_each_defect_is_looked_for_where_it_is() -> None:
    picture = np.zeros((96, 192, 3), np.uint8)
    large, small, inside = (40.0, 10.0, 100.0, 40.0), (100.0, 60.0, 110.0, 80.0), (60.0, 20.0, 66.0, 24.0)
    defects = tuple(Defect("pitting", box) for box in (large, small, inside))
    shares = token_shares(ballscrew.Example("x", "p", picture, defects), (192, 96))
    np.testing.assert_allclose(shares[0], np.asarray([8, 48, 4, 0, 0, 0, 0, 0]) / 60, rtol=1e-6)
    np.testing.assert_allclose(shares[1], [0, 0, 0, 0, 0, 0, 1, 0])
    np.testing.assert_allclose(shares[2], [0, 1, 0, 0, 0, 0, 0, 0], err_msg="though the large one covers more of it")
    assert token_shares(ballscrew.Example("x", "p", picture, ()), (192, 96)).shape == (0, 8)


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


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6))
def test_augmented_boxes_stay_inside(examples: list[ballscrew.Example], seed: int) -> None:
    rng = np.random.default_rng(seed)
    donors = [example for example in examples if example.defects]
    varied = ballscrew.augment(examples[seed % len(examples)], donors, rng)
    height, width = varied.picture.shape[:2]
    assert varied.picture.dtype == np.uint8
    for defect in varied.defects:
        x0, y0, x1, y1 = defect.box
        assert -1 <= x0 < x1 <= width + 1
        assert -1 <= y0 < y1 <= height + 1


def test_tiny_defects_are_pasted_beside_those_that_are_there(examples: list[ballscrew.Example]) -> None:
    donors = [example for example in examples if example.defects]
    pasted = [ballscrew.with_tiny(example, donors, np.random.default_rng(at), 6) for at, example in enumerate(examples)]
    for before, after in zip(examples, pasted, strict=True):
        added = after.defects[len(before.defects) :]
        assert after.defects[: len(before.defects)] == before.defects
        assert bool(added) != np.array_equal(before.picture, after.picture)
        longest = max(max(d.box[2] - d.box[0], d.box[3] - d.box[1]) for e in donors for d in e.defects)
        assert all(max(d.box[2] - d.box[0], d.box[3] - d.box[1]) < 0.5 * longest for d in added)
        kept = ballscrew.only_tiny(after)
        assert set(kept.defects) == {d for d in after.defects if d.box[2] - d.box[0] < 15 and d.box[3] - d.box[1] < 15}
    assert sum(len(after.defects) for after in pasted) > sum(len(before.defects) for before in examples)


def test_figures() -> None:
    scores, positive = np.asarray([0.1, 0.4, 0.4, 0.9]), np.asarray([False, False, True, True])
    assert auroc(scores, positive) == pytest.approx(3.5 / 4)
    a, b = Defect("x", (0, 0, 10, 10)), Defect("x", (5, 0, 15, 10))
    assert iou(a, b) == pytest.approx(50 / 150)
    assert iou(a, Defect("x", (20, 20, 30, 30))) == 0.0


def test_boxes_are_matched_one_to_one() -> None:
    labels = [Defect("a", (0, 0, 10, 10)), Defect("a", (20, 0, 30, 10)), Defect("b", (40, 0, 50, 10))]
    found = [Defect("a", (1, 0, 11, 10)), Defect("a", (0, 0, 10, 10)), Defect("a", (40, 0, 50, 10))]
    assert match(labels, found, 0.3) == Matches(found=1, missed=2, spurious=2)
    assert match(labels, found, 0.3, typed=False) == Matches(found=2, missed=1, spurious=1)
    assert match([], [], 0.3).f1 == 0.0
    total = Matches(3, 1, 1) + Matches(1, 0, 0)
    assert [total.recall, total.f1] == pytest.approx([4 / 5, 8 / 10])


def test_the_default_model_beats_always_pass_on_the_demo(examples: list[ballscrew.Example]) -> None:
    """Its figures are in the card, measured on more; this notices a model that was swapped or damaged."""
    found = inspect_all(Engine.open(DEFAULT_BUNDLE), examples, ballscrew.TASK)
    score = score_inspections(examples, found, SCREW_IOU)
    assert score.balanced_accuracy is not None
    assert score.balanced_accuracy >= 0.75
    assert score.auroc is not None
    assert score.auroc >= 0.85


def test_the_card_tells_what_was_scored() -> None:
    inspection = {"pictures": 10, "auroc": 0.91, "balanced_accuracy": 0.8, "false_alarms": 0.05, "unsure_rate": 0.1,
                  "box_recall": 0.5, "box_f1": 0.6, "false_boxes_per_picture": 0.2, "median_ms": 40.0,
                  "p99_ms": 90.0}  # fmt: skip
    board = {**inspection, "auroc": None, "box_f1": 0.31}
    gate = {"bottles": {"pictures": 24, "auroc": 0.97, "decided": 0.6, "missed": 0.0, "false_alarms": 0.0,
                        "median_ms": 20.0}}  # fmt: skip
    known = {"right_tool": 0.99, "right_call": 0.95, "no_call_out_of_scope": 0.7}
    own = {"screws": inspection, "boards": board, "gate": gate, "commands": known}
    scores = {"default": own, "float32": {**own, "screws": {**inspection, "auroc": 0.92}}}
    near = {"auroc": 0.94, "balanced_accuracy": 0.92}
    baselines = {"nearest_neighbours": near, "difference": {"box_f1": 0.16, "box_f1_whatever_the_type": 0.49}}
    case = next(case for case in load_cases() if case.expected is None)
    public = next(case for case in load_cases() if case.source == "hwu64" and case.expected is not None)
    assert public.expected is not None
    right = ToolCall("1", public.expected.name, {})
    outcomes = [Outcome(case, (), False, "", 7.4), Outcome(public, (right,), False, "", 7.4)]
    text = card(scores, report(outcomes), baselines, (47.8, 39.9), 120, "It says nothing.")
    assert "| AUROC | 0.91 | 0.92 | - | - |" in text
    assert "| F1 of the boxes, circuit boards | at least 0.95 | 0.31 |" in text
    assert "| right tool, public sets | at least 90 % | 100% |" in text
    assert "an AUROC of 0.94 and a balanced accuracy of 0.92" in text
    assert "| bottles | 24 | 0.97 | 0.97 | 0.6 | 0.0 | 0.0 | 20.0 |" in text
    assert "| own en | 0 | - | - | - | 1 | 0 [0-79] | 100 [21-100] | 100 |" in text
    assert "Answers cut off: 0; median time: 7 ms." in text
    assert "47.8 million parameters,\n39.9 MB" in text
    assert "It says nothing." in text
    shipped = (DEFAULT_BUNDLE / "model_card.md").read_text()
    assert "balanced accuracy" in shipped
    assert "CC BY-SA 4.0" in shipped
