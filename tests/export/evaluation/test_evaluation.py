"""The held-out commands are sound, and the figures are those that one works out by hand."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from lineside.export.default_model.data import commands
from lineside.export.evaluation import run
from lineside.export.evaluation.cases import LANGUAGES, OWN, PUBLIC, Case, Expected, load_cases, load_tools
from lineside.export.evaluation.intents import HWU64, hwu64_slots
from lineside.export.evaluation.matching import accepted, exact, normalized
from lineside.export.evaluation.sample import sample
from lineside.export.evaluation.scoring import score, verdict, wilson
from lineside.runtime.assistant import Answer
from lineside.runtime.chat import Tool, ToolCall
from lineside.runtime.defaults import DEFAULT_BUNDLE
from lineside.runtime.engine.engine import Engine
from lineside.runtime.errors import PromptTooLong
from lineside.runtime.timings import Counts, FinishReason, Timings

CASES = load_cases()
FITTING = [case for case in CASES if case.expected is not None]


def schema_of(case: Case) -> dict[str, Any]:
    assert case.expected is not None
    return dict(next(tool for tool in case.tools if tool.name == case.expected.name).parameters)


def test_every_expected_call_satisfies_a_tool_on_offer() -> None:
    for case in FITTING:
        assert case.expected is not None
        schema = schema_of(case)
        jsonschema.Draft202012Validator.check_schema(schema)
        jsonschema.validate(dict(case.expected.arguments), schema)
        for name, values in case.expected.accept.items():
            for value in values:
                if value is not None:
                    jsonschema.validate(value, schema["properties"][name])
        assert accepted(case.expected, case.expected.arguments, case.language)
        assert exact(case.expected, case.expected.arguments)


def test_free_text_stands_in_the_utterance() -> None:
    for case in FITTING:
        assert case.expected is not None
        properties = schema_of(case)["properties"]
        for name, value in case.expected.arguments.items():
            if properties[name].get("type") == "string":
                assert value.casefold() in case.text.casefold(), case.id


def test_tools_are_distinct_and_unknown_to_training() -> None:
    names = [name for domain in (*OWN, "public") for name in load_tools(domain).tools]
    assert len(set(names)) == len(names)
    assert not set(names) & set(commands.TOOLS)
    for case in CASES:
        offered = [tool.name for tool in case.tools]
        assert len(set(offered)) == len(offered) >= 3


def test_languages_are_parallel_and_no_case_is_there_twice() -> None:
    own = [case for case in CASES if case.source == "own"]
    for fits in (True, False):
        counts = Counter(case.language for case in own if (case.expected is not None) == fits)
        assert set(counts) == set(LANGUAGES)
        assert len(set(counts.values())) == 1
        assert counts["en"] >= (60 if fits else 12)
    assert len({case.id for case in CASES}) == len(CASES)
    said = Counter((case.text.casefold(), case.language) for case in CASES)
    assert [text for text, count in said.items() if count > 1] == []


def test_the_public_sets_have_the_size_that_their_readme_says() -> None:
    fitting = {source: sum(case.source == source for case in FITTING) for source in PUBLIC}
    assert fitting == {"hwu64": 150, "snips": 90, "clinc": 0}
    assert Counter(c.source for c in CASES if c.expected is None and c.source != "own") == {
        "hwu64": 80,
        "snips": 30,
        "clinc": 50,
    }


@pytest.mark.parametrize(
    ("given", "right", "to_the_letter"),
    [
        ({"room": "Bath", "celsius": 21}, True, True),
        ({"room": " the bath. ", "celsius": 21.0}, True, False),
        ({"room": "Bath", "celsius": 22}, True, False),
        ({"room": "Bath", "celsius": True}, False, False),
        ({"celsius": 21}, False, False),
        ({"room": "Bath", "celsius": 21, "fast": False}, True, False),
        ({"room": "Bath", "celsius": 21, "fast": True}, False, False),
        ({"room": "Bath", "celsius": 21, "other": 1}, False, False),
    ],
)
def test_arguments(given: dict[str, Any], right: bool, to_the_letter: bool) -> None:
    expected = Expected("heat", {"room": "Bath", "celsius": 21}, {"celsius": [22], "fast": [False]})
    assert accepted(expected, given, "en") is right
    assert exact(expected, given) is to_the_letter


def test_an_argument_may_be_left_out_where_null_is_accepted() -> None:
    expected = Expected("dim", {"room": "house"}, {"room": [None]})
    assert accepted(expected, {}, "en")
    assert not accepted(expected, {"room": "hall"}, "en")


@pytest.mark.parametrize(
    ("text", "language", "plain"),
    [
        ("Der  Hafen", "de", "hafen"),
        ("L’œuf", "fr", "œuf"),
        ("¿Las llaves?", "es", "llaves"),
        ("The", "en", "the"),
        ("Der Hafen", "en", "der hafen"),
    ],
)
def test_normalized(text: str, language: str, plain: str) -> None:
    assert normalized(text, language) == plain


PUBLISHED = ((81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0, 0.1611), (1, 29, 0.0061, 0.1718))


def test_wilson_against_published_values() -> None:
    """Newcombe, Statistics in Medicine 17 (1998), table I, method 3."""
    for hits, of, low, high in (
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ):
        assert wilson(hits, of) == pytest.approx((low, high), abs=6e-5)
    assert wilson(0, 0) == (0.0, 0.0)
    assert wilson(7, 7)[1] == 1.0


def a_case(number: int, expected: Expected | None) -> Case:
    tool = Tool("heat", "Heat.", {"type": "object", "properties": {"celsius": {"type": "integer"}}, "required": []})
    return Case(str(number), "own", "home", "en", "warmer", "You control a home.", (tool,), expected)


def scripted(*calls: tuple[str, dict[str, Any]], finish: FinishReason = "stop") -> Answer:
    made = tuple(ToolCall("000000000", name, arguments) for name, arguments in calls)
    return Answer("", made, finish, Timings(), Counts())


def test_figures_worked_out_by_hand() -> None:
    heat = Expected("heat", {"celsius": 21}, {"celsius": [22]})
    script: list[tuple[Expected | None, Answer | PromptTooLong]] = [
        (heat, scripted(("heat", {"celsius": 21}))),  # right to the letter
        (heat, scripted(("heat", {"celsius": 22}))),  # right
        (heat, scripted(("heat", {"celsius": 5}))),  # right tool
        (heat, scripted(("cool", {"celsius": 21}))),  # wrong tool
        (heat, scripted(("heat", {"celsius": 21}), ("heat", {"celsius": 21}))),  # one too many
        (heat, scripted()),  # not called
        (heat, scripted(finish="length")),  # not called, cut off
        (heat, PromptTooLong("too long")),  # not called, refused
        (None, scripted()),  # right
        (None, scripted(("heat", {"celsius": 21}))),  # wrongly called
        (None, scripted(finish="repetition")),  # cut off: no right answer, but nothing called
        (None, PromptTooLong("too long")),
    ]

    def answer(case: Case) -> run.Given:
        given = script[int(case.id)][1]
        if isinstance(given, PromptTooLong):
            raise given
        return run.Given(given)

    outcomes = [run.run_case(a_case(at, expected), answer) for at, (expected, _) in enumerate(script)]
    result = score(outcomes)
    rates = {
        name: (value.hits, value.of)
        for name, value in vars(result).items()
        if name not in ("cases", "cut_off", "errors", "median_ms")
    }
    assert rates == {
        "right_tool": (3, 8),
        "right_call": (2, 8),
        "exact_call": (1, 8),
        "not_called": (3, 8),
        "wrongly_called": (1, 4),
        "right_answer": (3, 12),
        "never_calls": (4, 12),
        "right": (5, 12),
        "acted_wrongly": (4, 12),
        "refused": (3, 12),
    }
    assert (result.cases, result.cut_off, result.errors) == (12, 2, {"prompt_too_long": 2})
    assert run.percent(result.right_call) == "25 [7-59]"


def test_who_answers_as_expected_is_always_right() -> None:
    def answer(case: Case) -> run.Given:
        expected = case.expected
        return run.Given(scripted((expected.name, dict(expected.arguments))) if expected else scripted())

    result = score([run.run_case(case, answer) for case in CASES])
    assert result.right_answer.hits == len(CASES)
    assert result.exact_call.hits == len(FITTING)
    assert result.wrongly_called.hits == 0


def test_a_call_that_is_held_back_is_no_call() -> None:
    heat = Expected("heat", {"celsius": 21})
    wrong = run.Given(scripted(("heat", {"celsius": 5})), "not_said")
    outcomes = [run.run_case(a_case(at, expected), lambda _: wrong) for at, expected in enumerate((heat, None))]
    assert [verdict(outcome) for outcome in outcomes] == ["refused", "right"]
    figures = run.report(outcomes)
    assert (figures["doubts"], figures["acted_wrongly"]) == ({"not_said": 2}, [])


def test_the_default_model_on_some_cases(default_engine: Engine) -> None:
    checked = run.with_checks(default_engine)
    outcomes = [run.run_case(case, checked) for case in CASES[::100]]
    assert not any(outcome.error for outcome in outcomes)
    assert any(outcome.doubt for outcome in outcomes)
    figures = json.loads(json.dumps(run.report(outcomes)))
    assert figures["all"]["cases"] == len(outcomes)
    assert sum(group["cases"] for group in figures["by_source"].values()) == len(outcomes)
    assert run.table(outcomes, "with the checks").row_count == len(figures["by_source"]) + 1


def test_main_writes_the_report_or_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "build" / "scores.json"
    monkeypatch.setattr(sys, "argv", ["run", str(DEFAULT_BUNDLE), "--out", str(out)])

    def broken_off() -> list[Case]:
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "load_cases", broken_off)
    assert run.main() == run.INTERRUPTED
    assert not out.exists()
    monkeypatch.setattr(run, "load_cases", lambda: CASES[:2])
    assert run.main() == 0
    written = json.loads(out.read_text())
    assert (written["all"]["cases"], written["checked"]["all"]["cases"]) == (2, 2)


def test_slots_become_arguments_only_where_they_are_clean() -> None:
    alarm = next(rule for rule in HWU64 if rule.intent == "alarm_set")

    def call(annotated: str, text: str) -> Expected | None:
        return alarm.call(text, hwu64_slots({"annotated": annotated}))

    expected = Expected("set_alarm_clock", {"time": "six am"}, {"time": ["at six am"]})
    assert call("set an alarm at [time : six am]", "set an alarm at six am") == expected
    assert call("alarm [time : six am] [time : seven am]", "alarm six am seven am") is None  # which of the two?
    assert call("alarm [time : six am] [person : ann]", "alarm six am ann") is None  # more than the tool takes
    assert call("alarm [time : 6 am]", "alarm six am") is None  # not what was said
    assert call("set an alarm", "set an alarm") is None


def test_the_same_data_give_the_same_cases(tmp_path: Path) -> None:
    folder = tmp_path / "commands"
    folder.mkdir()
    spoken = [
        {"intent": "iot_hue_lightdim", "text": f"dim light {n}", "annotated": f"dim light {n}"} for n in range(20)
    ]
    spoken += [{"intent": "general_joke", "text": f"joke {n}", "annotated": f"joke {n}"} for n in range(3)]
    rated = {"object_name": "Emma", "rating_value": "five"}
    slots = [{"slot": name, "value": value} for name, value in rated.items()]
    for name, rows in (
        ("hwu64", spoken),
        ("snips", [{"intent": "RateBook", "text": "Rate Emma  five", "slots": slots}]),
        ("clinc_oos", [{"text": "who are you"}, {"text": "write to me@example.org"}]),
    ):
        lines = [json.dumps(row) for row in rows]
        (folder / f"{name}_train.jsonl").write_text("\n".join(lines))
    sampled = sample(tmp_path)
    assert sampled == sample(tmp_path)
    assert sampled["snips"][0]["text"] == "Rate Emma five"
    assert sampled["snips"][0]["call"] == {"name": "rate_book", "arguments": {"title": "Emma", "rating": 5}}
    assert [line["text"] for line in sampled["clinc"]] == ["who are you"]
    for line in sampled["hwu64"]:
        assert line["call"] is None or line["call"]["name"] in line["tools"]
        assert line["call"] is not None or "dim_lights" not in line["tools"] or line["text"].startswith("joke")
