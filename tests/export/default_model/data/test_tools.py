"""Tools and commands that training draws: new, satisfiable, and never the evaluation's."""

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

from lineside.export.default_model.data import commands, made_up, offers, spoken_tools
from lineside.export.default_model.data.machine_tools import line_offer, machine_offer
from lineside.export.default_model.data.offers import LANGUAGES, held_out_names
from lineside.export.default_model.data.spoken_tools import merged_offer, spoken_offer
from lineside.export.default_model.data.written_tools import written_offer, written_tools
from lineside.export.evaluation.cases import held_out_texts, load_cases


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
