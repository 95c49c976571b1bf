"""The held-out sentences to the stations that ship are sound, scored as one would by hand, and published."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from lineside.edge.station_file import load_config
from lineside.export.evaluation import publish, run, stations
from lineside.export.evaluation.cases import LANGUAGES
from lineside.export.evaluation.stations import SETS, STATIONS, Said, Sentence, load_sentences, read_said
from lineside.runtime.defaults import DEFAULT_BUNDLE
from tests.conftest import ROOT

SENTENCES = [sentence for station in STATIONS for sentence in load_sentences(station)]
RED = ("set_lamp", {"color": "red"})
STOP: tuple[str, dict[str, str]] = ("stop_line", {})
FOLDER = ROOT / "deploy" / "stations"


def test_every_language_has_its_sentences_and_none_twice() -> None:
    counted = Counter((sentence.set, sentence.language) for sentence in SENTENCES)
    sizes = dict(zip(SETS, (45, 30), strict=True))
    assert counted == {(one, language): size for one, size in sizes.items() for language in LANGUAGES}
    assert len({sentence.text.casefold() for sentence in SENTENCES}) == len(SENTENCES)


@pytest.mark.parametrize("station", STATIONS)
def test_every_right_call_is_one_that_the_station_can_make(station: str) -> None:
    tools = load_config(FOLDER / station / "station.toml").tools
    for sentence in load_sentences(station):
        for name, arguments in (sentence.right or {}).items():
            jsonschema.validate(dict(arguments), dict(tools[name].parameters))


def a_sentence(right: dict[str, dict[str, Any]] | None, or_refuse: bool = False) -> Sentence:
    return Sentence("adversarial", "ballscrew", "en", "lamp red", "short", right, or_refuse)


@pytest.mark.parametrize(
    ("right", "or_refuse", "called", "verdict"),
    [
        ({"set_lamp": {"color": "red"}}, False, [RED], "right"),
        ({"set_lamp": {"color": "green"}}, False, [RED], "acted wrongly"),
        ({"set_lamp": {"color": "red"}}, False, [STOP], "acted wrongly"),
        ({"set_lamp": {"color": "red"}}, False, [RED, RED], "acted wrongly"),
        ({"set_lamp": {"color": "red"}}, False, [RED, STOP], "acted wrongly"),
        ({"set_lamp": {"color": "red"}}, False, [("set_lamp", {})], "acted wrongly"),
        ({"set_lamp": {"color": "red"}}, False, [], "refused"),
        ({"set_lamp": {"color": "red"}}, True, [], "right"),
        ({"set_lamp": {"color": "red"}, "stop_line": {}}, True, [STOP, RED], "right"),
        ({"set_lamp": {"color": "red"}, "stop_line": {}}, True, [STOP], "refused"),
        (None, False, [], "right"),
        (None, False, [STOP], "acted wrongly"),
    ],
)
def test_verdicts(
    right: dict[str, dict[str, Any]] | None, or_refuse: bool, called: list[tuple[str, dict[str, Any]]], verdict: str
) -> None:
    assert Said(a_sentence(right, or_refuse), tuple(called), "model", "").verdict == verdict


def a_line(text: str, outcome: str, acts: bool = True) -> str:
    call = {"name": "set_lamp", "arguments": {"color": "red"}, "outcome": outcome, "code": "", "acts": acts}
    return json.dumps({"text": text, "by": "phrase", "calls": [call], "code": "", "why": "", "ms": 1.0})


def test_what_was_refused_or_only_told_was_not_done_and_answers_belong_to_their_sentences() -> None:
    sentence = a_sentence({"set_lamp": {"color": "red"}})
    lines = [a_line("lamp red", "dry_run"), a_line("lamp red", "refused"), a_line("lamp red", "dry_run", acts=False)]
    figures = stations.report(read_said([sentence] * 3, lines))
    assert (figures["all"]["right"]["hits"], figures["all"]["refused"]["hits"], figures["by_phrase"]) == (1, 2, 3)
    assert [one["text"] for one in figures["refused"]] == ["lamp red", "lamp red"]
    with pytest.raises(ValueError, match="lamp green"):
        read_said([sentence], [a_line("lamp green", "dry_run")])
    with pytest.raises(ValueError, match="shorter"):
        read_said([sentence, sentence], [a_line("lamp red", "dry_run")])


def test_the_product_answers_and_what_fails_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    few = load_sentences("ballscrew")[:2]
    monkeypatch.setattr(stations, "load_sentences", lambda _: few)
    said = stations.ask_station(FOLDER / "ballscrew", ["--no-model"], DEFAULT_BUNDLE)
    assert [one.sentence for one in said] == few
    with pytest.raises(RuntimeError, match="ended with"):
        stations.ask_station(tmp_path / "ballscrew", [], tmp_path)
    assert "lineside: " in capfd.readouterr().err


def test_the_section_is_put_between_its_marks_and_nothing_else_is_touched() -> None:
    group = {name: {"hits": 1, "of": 4, "rate": 0.25} for name in ("right", "acted_wrongly", "refused")} | {"cases": 4}
    spoken = {"by_source": {"hwu64 en": group, "snips en": group}, "all": group}
    counted = {name.replace("_", " "): value for name, value in group.items()}
    way = {"by_language": {"en": counted}, "by_set": {"everyday": counted}, "all": counted}
    both = {"with phrases": way, "without phrases": way}
    text = publish.section({"model": "m", **spoken, "checked": spoken}, both, "2026-01-02", "a processor")
    assert "Model `m` on a processor, 2026-01-02" in text
    assert "| en | 4 | 25.0 | 25.0 | 25.0 | 25.0 | 25.0 | 25.0 |" in text
    assert "over all 8: 25.0 % acted wrongly" in text
    page = publish.put("# Page\n", "\n".join((publish.BEGIN, "old", publish.END, "")) + "\n## More\n")
    assert publish.put(page, text) == f"# Page\n\n{text}\n## More\n"
    assert publish.taken(publish.put(page, text)) == text
    assert (publish.taken("# Page\n"), publish.put("", text)) == ("", text)


def test_the_columns_say_right_acted_wrongly_refused() -> None:
    assert {"right", "acted wrongly", "refused"} <= set(run.HEADINGS)
