"""What each requester said last and what came of it, for a short time and in memory alone.

A conversation belongs to one requester: whoever has the response topic that its commands name, and a name for it where
the requester gave one. Requesters never see each other's.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from lineside.edge.errors import RequestError
from lineside.edge.tool_config import ToolConfig
from lineside.edge.wire.messages import CallReport
from lineside.runtime.chat import Message, ToolCall
from lineside.runtime.commands.language import common

MAX_CONVERSATIONS = 64
"""The one that was silent for longest goes first."""
MAX_TURNS = 8
MAX_CHARACTERS = 4000
"""Of a conversation, in what was said and what the calls gave back."""
UNTOUCHED = ("refused", "dry_run")
"""Outcomes of calls that cannot have changed anything."""
Requester = tuple[str, str]
"""A response topic, and the name of the conversation."""
ID_LENGTH = 9


@dataclass(frozen=True)
class Turn:
    """A command, the calls that it led to, and the text of the reply."""

    text: str
    reports: tuple[CallReport, ...]
    said: str

    @property
    def characters(self) -> int:
        return len(self.text) + len(self.said) + sum(len(report.model_dump_json()) for report in self.reports)


@dataclass(frozen=True)
class _Conversation:
    heard: float
    turns: tuple[Turn, ...] = ()
    last: ToolCall | None = None


class Memory:
    """The conversations of a station.

    Args:
        keep_s: how long one is kept after its last turn; 0 keeps none.
    """

    def __init__(self, keep_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._keep_s, self._clock = keep_s, clock
        self._lock = threading.Lock()
        self._conversations: OrderedDict[Requester, _Conversation] = OrderedDict()

    def turns(self, requester: Requester | None) -> tuple[Turn, ...]:
        """What was said so far, the oldest first."""
        with self._lock:
            return self._of(requester).turns

    def called(self, requester: Requester | None, call: ToolCall) -> None:
        """A call has been let through, and is now the one that "stop that" means."""
        with self._lock:
            self._put(requester, replace(self._of(requester), last=call))

    def ended(self, requester: Requester | None, turn: Turn) -> None:
        """A command has been answered."""
        with self._lock:
            conversation = self._of(requester)
            turns = (*conversation.turns, turn)[-MAX_TURNS:]
            while turns and sum(each.characters for each in turns) > MAX_CHARACTERS:
                turns = turns[1:]
            self._put(requester, replace(conversation, turns=turns))

    def last_call(self, requester: Requester | None) -> ToolCall:
        """The call that was let through last.

        Raises:
            RequestError: there is none, or it was too long ago.
        """
        with self._lock:
            last = self._of(requester).last
        if last is not None:
            return last
        if requester is None:
            advice = "send commands with a response topic of your own, or with a `conversation`"
            raise RequestError("no_conversation", f"nobody can tell which call is meant: {advice}")
        raise RequestError("no_conversation", f"no call of this conversation is known of the last {self._keep_s:g} s")

    def _of(self, requester: Requester | None) -> _Conversation:
        now = self._clock()
        found = self._conversations.get(requester) if requester is not None else None
        if found is None or now - found.heard > self._keep_s:
            return _Conversation(now)
        return found

    def _put(self, requester: Requester | None, conversation: _Conversation) -> None:
        if requester is None or not self._keep_s:
            return
        self._conversations[requester] = replace(conversation, heard=self._clock())
        self._conversations.move_to_end(requester)
        while len(self._conversations) > MAX_CONVERSATIONS:
            self._conversations.popitem(last=False)


def requester_of(response_topic: str, conversation: str, shared_topic: str) -> Requester | None:
    """Whose conversation a command belongs to; None where it cannot be told from others'.

    Args:
        shared_topic: where replies go to those who name no topic, for all to read.
    """
    if response_topic == shared_topic and not conversation:
        return None
    return response_topic, conversation


def referred(wanted: Literal["undo", "again"], last: ToolCall, tools: Mapping[str, ToolConfig]) -> ToolCall:
    """The call that "again" or "stop that" means; its id is not yet one.

    Raises:
        RequestError: nothing undoes the last call by declaration.
    """
    if wanted == "again":
        return last
    for name, tool in tools.items():
        if name == tools[last.name].opposite or tool.opposite == last.name:
            known = _properties(tool)
            return ToolCall("", name, {key: value for key, value in last.arguments.items() if key in known})
    flipped = _flipped(last, tools[last.name])
    if flipped is None:
        raise RequestError(
            "no_opposite", f"{last.name} was called last, and nothing is declared as its `opposite`: say what to do"
        )
    return replace(last, id="", arguments=flipped)


def history(turns: Sequence[Turn], told: Callable[[CallReport], str]) -> list[Message]:
    """The turns as a model reads them; `told` is what it hears of a call."""
    messages = []
    for turn in turns:
        if not turn.said and not turn.reports:
            continue
        messages.append(Message("user", (turn.text,)))
        if turn.reports:
            calls = tuple(ToolCall(_short(report), report.name, report.arguments) for report in turn.reports)
            messages.append(Message("assistant", (), calls))
            messages += [Message("tool", (told(report),), tool_call_id=_short(report)) for report in turn.reports]
        messages.append(Message("assistant", (turn.said or "Done.",)))
    return messages


def _short(report: CallReport) -> str:
    return report.id[:ID_LENGTH]


def _flipped(last: ToolCall, tool: ToolConfig) -> dict[str, Any] | None:
    """The arguments with the one that says yes or no turned round; None where there is no such one, or several are."""
    turned: dict[str, Any] = {}
    for name, schema in _properties(tool).items():
        if name not in last.arguments or not isinstance(schema, Mapping):
            continue
        value, among = last.arguments[name], schema.get("enum", [])
        if isinstance(value, bool):
            turned[name] = not value
        elif len(among) == 2 and value in among and sum(_says_no(each) for each in among) == 1:
            turned[name] = among[1 - among.index(value)]
    return {**last.arguments, **turned} if len(turned) == 1 else None


def _says_no(value: Any) -> bool:
    return str(value).casefold() in common().no_values


def _properties(tool: ToolConfig) -> Mapping[str, Any]:
    properties = tool.parameters.get("properties", {})
    return properties if isinstance(properties, Mapping) else {}
