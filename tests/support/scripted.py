"""Stands in for the model where a test is about what happens to its calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lineside.runtime.assistant import Answer
from lineside.runtime.chat import Message, ToolCall
from lineside.runtime.text.tool_calls import new_call_id
from lineside.runtime.timings import Counts, Timings

Say = str | list[tuple[str, dict[str, Any]]]
"""A text, or calls: names with arguments."""


class Scripted:
    """Says what `says` makes of the conversation; keeps the conversations that it was asked about."""

    def __init__(self, says: Callable[[list[Message]], Say]) -> None:
        self._says = says
        self.conversations: list[list[Message]] = []

    def __call__(self, _engine: object, messages: list[Message], *_arguments: object, **_options: object) -> Answer:
        self.conversations.append(list(messages))
        said = self._says(messages)
        text = said if isinstance(said, str) else ""
        calls = () if isinstance(said, str) else tuple(ToolCall(new_call_id(), *call) for call in said)
        return Answer(text, calls, "stop", Timings(), Counts())


def results(messages: list[Message]) -> list[str]:
    """What the model was told came of its calls."""
    return [str(message.content[0]) for message in messages if message.role == "tool"]
