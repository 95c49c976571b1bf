"""A question that the model was not taught to answer gets an error, and no noise."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lineside.edge.command_line.main import main
from lineside.runtime.assistant import ask
from lineside.runtime.bounds import check_question
from lineside.runtime.bundle import read_manifest
from lineside.runtime.chat import Message
from lineside.runtime.defaults import DEFAULT_BUNDLE
from lineside.runtime.engine.engine import Engine
from lineside.runtime.errors import NotTaught
from lineside.runtime.manifest import Manifest, Taught

HELLO = [Message("user", ("Hello",))]
SHOWN = [Message("user", (np.zeros((56, 56, 3), np.uint8), "What is this?"))]


def manifest(**taught: bool) -> Manifest:
    return replace(read_manifest(DEFAULT_BUNDLE), taught=Taught(**taught))  # type: ignore[arg-type]


def test_the_default_model_does_not_converse(default_engine: Engine) -> None:
    for messages, told in ((HELLO, "to converse: declare tools"), (SHOWN, "to say what a picture shows")):
        with pytest.raises(NotTaught, match=f"default was not taught {told}"):
            ask(default_engine, messages)


def test_nor_does_it_describe_pictures() -> None:
    with pytest.raises(NotTaught, match="what a picture shows: inspect it"):
        check_question(manifest(conversation=True, describes_pictures=False), tools=False, pictures=True)


@pytest.mark.parametrize("taught", [{}, {"conversation": True, "describes_pictures": True}])
def test_a_model_without_such_bounds_is_asked(random_engine: Engine, taught: dict[str, bool]) -> None:
    check_question(manifest(**taught), tools=False, pictures=True)
    for messages in (HELLO, SHOWN):
        assert ask(random_engine, messages, max_tokens=2).counts.generated == 2


def test_with_tools_it_chooses_and_says_that_none_fits() -> None:
    check_question(manifest(conversation=False), tools=True, pictures=False)


def test_the_command_says_so_before_anything_is_loaded(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lineside.edge.device_choice.open_engine", lambda *_, **__: pytest.fail("it was loaded"))
    assert main(["ask", "default", "Hello"]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "not taught to converse" in printed.err
