"""`lineside calibrate --commands`: what it fits, what the next start takes up, and what it says of a bad file."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from lineside.edge.commands.deciding import trust_of
from lineside.edge.config import Config
from lineside.edge.errors import ConfigError
from lineside.edge.trust_file import read_trust
from lineside.edge.tuning import calibrate_commands as module
from lineside.edge.tuning.calibrate_commands import calibrate_commands, read_sentences
from lineside.runtime.engine.engine import Engine
from tests.support.station import TOOLS, station


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return station(1, tmp_path, tools=TOOLS)


def test_the_next_start_takes_the_fit_up(
    config: Config, default_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Calls that were less sure turn out wrong: the fit is steeper than the model's own."""
    file = config.folder / "sentences.jsonl"
    file.write_text('{"text": "stop the line", "right": {"stop_line": {}}}\n' * 40)
    scores = np.asarray([*np.linspace(0.85, 0.99, 25), *np.linspace(0.55, 0.9, 15)])
    labels = np.asarray([True] * 25 + [False] * 15)
    monkeypatch.setattr(module, "_scores", lambda *_: (scores, labels))
    assert trust_of(config, default_engine).offset == 0.0
    report = calibrate_commands(config, file)
    assert (report.before.right, report.before.wrong, report.sentences) == (16, 1, 40)
    assert report.after.wrong <= report.before.wrong
    trust = trust_of(config, default_engine)
    fitted = read_trust(config.commands_path)
    assert fitted is not None
    assert (trust.scale, trust.offset) == (fitted.scale, fitted.offset) != (1.0, 0.0)
    other = dataclasses.replace(config, tools={"stop_line": TOOLS["stop_line"]})
    assert trust_of(other, default_engine).offset == 0.0, "a fit for other tools"


def test_sentences_are_put_to_the_model_and_nothing_is_called(config: Config, default_engine: Engine) -> None:
    lines = ['{"text": "stop the line", "right": {"stop_line": {}}}', '{"text": "do not stop the line", "right": null}']
    file = config.folder / "sentences.jsonl"
    file.write_text("\n".join(lines))
    scores, labels = module._scores(config, default_engine, read_sentences(file, list(config.tools)))
    assert len(scores) == 1, "the second is refused by another check"
    assert labels.tolist() == [True]
    with pytest.raises(ConfigError, match="1 calls that the other checks let through are right, and at least 5"):
        calibrate_commands(config, file)
    assert not config.commands_path.exists()


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "has no sentences"),
        ('{"text": "stop"}', "line 1: a line is"),
        ('\n{"text": "stop", "right": {"halt": {}}}', "line 2: the station has no tool halt; it has set_belt_speed"),
        ("stop the line", "line 1: a line is"),
    ],
)
def test_a_bad_file_says_which_line(tmp_path: Path, content: str, problem: str) -> None:
    file = tmp_path / "sentences.jsonl"
    file.write_text(content)
    with pytest.raises(ConfigError, match=problem):
        read_sentences(file, list(TOOLS))


def test_a_damaged_fit_is_named(config: Config) -> None:
    config.commands_path.write_text("{}")
    with pytest.raises(ConfigError, match=r"test\.commands\.json|commands\.json is damaged"):
        read_trust(config.commands_path)
