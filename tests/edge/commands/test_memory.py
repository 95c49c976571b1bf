"""A conversation is one requester's, for a short time; what it means by the last call is never guessed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineside.edge.commands.memory import (
    MAX_CHARACTERS,
    MAX_CONVERSATIONS,
    MAX_TURNS,
    Memory,
    Turn,
    history,
    referred,
    requester_of,
)
from lineside.edge.errors import RequestError
from lineside.edge.tool_config import ToolConfig
from lineside.edge.wire.messages import CallReport
from lineside.runtime.chat import Message, ToolCall
from lineside.runtime.text.tokenizer import Tokenizer
from tests.support.tokenizers import write_small_tokenizer

ANN, BEN = ("clients/ann", ""), ("clients/ben", "")
OPEN = ToolCall("a" * 20, "open_garage", {})
REPORT = CallReport(id="b" * 20, name="light", arguments={"state": "on"}, outcome="achieved")


def parameters(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties)}


ON_OFF = {"enum": ["on", "off"]}
TOOLS = {
    "open_garage": ToolConfig("Open."),
    "close_garage": ToolConfig("Close.", opposite="open_garage"),
    "light": ToolConfig(
        "Light.", parameters(room={"enum": ["kitchen", "off"]}, state=ON_OFF, level={"type": "integer"})
    ),
    "fan": ToolConfig("Fan.", parameters(on={"type": "boolean"})),
    "two": ToolConfig("Two.", parameters(a=ON_OFF, b={"type": "boolean"})),
    "heat": ToolConfig("Heat.", parameters(degrees={"type": "integer"})),
}


def code(memory: Memory, requester: tuple[str, str] | None) -> str:
    """Why no last call is known; empty where one is."""
    try:
        memory.last_call(requester)
    except RequestError as error:
        return error.code
    return ""


def test_the_last_call_is_the_requesters_own() -> None:
    memory = Memory(120)
    memory.called(ANN, OPEN)
    memory.called(BEN, ToolCall("c", "fan", {"on": True}))
    assert memory.last_call(ANN) == OPEN
    assert code(memory, ("clients/ann", "another")) == "no_conversation"
    assert code(memory, ("clients/eve", "")) == "no_conversation"
    assert code(memory, None) == "no_conversation"


def test_it_is_forgotten_in_time() -> None:
    now = [0.0]
    memory = Memory(120, lambda: now[0])
    memory.called(ANN, OPEN)
    now[0] = 119
    memory.ended(ANN, Turn("open it", (), ""))
    now[0] = 238
    assert (code(memory, ANN), len(memory.turns(ANN))) == ("", 1)
    now[0] = 240
    assert (code(memory, ANN), memory.turns(ANN)) == ("no_conversation", ())
    memory.ended(ANN, Turn("again?", (), ""))
    assert len(memory.turns(ANN)) == 1


def test_a_station_that_keeps_none_keeps_none() -> None:
    memory = Memory(0)
    memory.called(ANN, OPEN)
    assert code(memory, ANN) == "no_conversation"


@given(st.lists(st.tuples(st.integers(0, 200), st.text(max_size=3000)), max_size=300))
def test_it_is_bounded_and_nobody_sees_anothers(said: list[tuple[int, str]]) -> None:
    memory = Memory(120)
    for client, text in said:
        memory.ended((f"clients/{client}", ""), Turn(f"{client}: {text}", (), ""))
    kept = [memory.turns((f"clients/{client}", "")) for client in range(201)]
    assert sum(bool(turns) for turns in kept) <= MAX_CONVERSATIONS
    for client, turns in enumerate(kept):
        assert len(turns) <= MAX_TURNS
        assert sum(turn.characters for turn in turns) <= MAX_CHARACTERS
        assert all(turn.text.startswith(f"{client}: ") for turn in turns)


def test_who_a_requester_is() -> None:
    """Those who name no response topic are told apart by the name of their conversation, or not at all."""
    shared = "lineside/home/rsp/ask"
    assert requester_of("clients/1", "", shared) == ("clients/1", "")
    assert requester_of("clients/1", "x", shared) != requester_of("clients/2", "x", shared)
    assert requester_of(shared, "x", shared) == (shared, "x")
    assert requester_of(shared, "", shared) is None


@pytest.mark.parametrize(
    ("last", "undone"),
    [
        (("open_garage", {}), ("close_garage", {})),
        (("close_garage", {}), ("open_garage", {})),
        (("light", {"room": "a", "state": "on", "level": 5}), ("light", {"room": "a", "state": "off", "level": 5})),
        (("fan", {"on": False}), ("fan", {"on": True})),
    ],
)
def test_what_undoes_a_call_is_declared(last: tuple[str, dict[str, Any]], undone: tuple[str, dict[str, Any]]) -> None:
    call = referred("undo", ToolCall("a", *last), TOOLS)
    assert (call.name, call.arguments) == undone
    again = referred("again", ToolCall("a", *last), TOOLS)
    assert (again.name, again.arguments) == last


@pytest.mark.parametrize(("name", "arguments"), [("heat", {"degrees": 20}), ("two", {"a": "on", "b": True})])
def test_what_is_not_declared_is_not_guessed(name: str, arguments: dict[str, Any]) -> None:
    with pytest.raises(RequestError, match=f"{name} was called last, and nothing is declared") as caught:
        referred("undo", ToolCall("a", name, arguments), TOOLS)
    assert caught.value.code == "no_opposite"


@pytest.mark.parametrize("version", ["v3", "v7", "v11", "v13"])
def test_a_history_is_a_conversation_that_every_tokenizer_takes(version: str, tmp_path: Path) -> None:
    """Also of commands that a phrase decided, and of those that nothing came of."""
    write_small_tokenizer(tmp_path / "tekken.json", version)
    turns = [Turn("light on", (REPORT,), ""), Turn("thanks", (), "You are welcome."), Turn("so", (), "")]
    messages = history(turns, lambda report: report.outcome)
    assert [message.role for message in messages] == ["user", "assistant", "tool", "assistant", "user", "assistant"]
    assert len(Tokenizer(tmp_path / "tekken.json").encode_chat([*messages, Message("user", ("off",))]).ids)
