"""The grammar of an answer that may call tools, in Lark syntax for llguidance, by the tokenizer's version.

mistral-common's `GrammarFactory` is the base: its rule for text, its form of a call. It is not used as it stands, since
it lets spaces stand between the parts of a call, which re-encodes to other tokens, and has nothing for v3 and v7.

    v3, v7:      [TOOL_CALLS] and `[{"name": "stop", "arguments": {}, "id": "abc123DEF"}, ...]`
    v11, v13:    [TOOL_CALLS] name [ARGS] {...}, for each call

A v11 model may write `[CALL_ID] id` behind the name. It is read (`runtime.text.tool_calls`), never asked for:
ids are ours.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

from lineside.runtime.chat import Tool
from lineside.runtime.errors import GrammarError
from lineside.runtime.grammar.json_schema import Lowered, lower
from lineside.runtime.grammar.verbatim import verbatim

if TYPE_CHECKING:
    from lineside.runtime.text.tokenizer import Tokenizer

WRITTEN_ONE_WAY = {"whitespace_flexible": False, "json_allowed_escapes": 'nrbtf\\"'}
"""No `\\u` escapes: a property's name must not be writable in a second way, past the schema of the first."""
SPACED = {**WRITTEN_ONE_WAY, "item_separator": ", ", "key_separator": ": "}
"""Arguments of calls: as `json.dumps` writes them, so that a call re-encodes to the same tokens."""
MAX_CALLS = 8
"""In one answer."""
NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")


@dataclass(frozen=True)
class OneTool:
    """A tool choice: this one must be called, once."""

    name: str


ToolChoice = Literal["auto", "required", "none"] | OneTool


def tool_grammar(
    tokenizer: Tokenizer, tools: Sequence[Tool], choice: ToolChoice, said: Sequence[str] | None = None
) -> str:
    """Lark rules for text, or calls of these tools, as `choice` says; free texts are among `said`, where it is given.

    Raises:
        GrammarError: no such tool, two tools with one name, a name that Mistral's format has no room for, a schema that
            cannot be enforced, or a tokenizer whose models cannot call.
    """
    check_tools(tools)
    if tokenizer.tool_calls_id is None:
        raise GrammarError(f"the tokenizer has no [TOOL_CALLS] token ({tokenizer.version}): this model cannot call")
    most = MAX_CALLS
    if isinstance(choice, OneTool):
        tools, most = [tool for tool in tools if tool.name == choice.name], 1
        if not tools:
            raise GrammarError(f"the tool choice {choice.name!r} is not among the tools")
    if choice == "none" or not tools:
        if choice == "required":
            raise GrammarError("a call is required, but there are no tools")
        return _rules("content")
    marker = f"<[{tokenizer.tool_calls_id}]>"
    parameters = [json.dumps({**_parameters(tool, said), "x-guidance": SPACED}) for tool in tools]
    if tokenizer.named_calls:
        args = f"<[{tokenizer.special_id('[ARGS]')}]>"
        call = _either(f'{marker} "{tool.name}" {args} %json {p}' for tool, p in zip(tools, parameters, strict=True))
        calls = f"call{{1,{most}}}"
    else:
        call = _either(
            f"{_quoted('{')} {_quoted(_head(tool))} %json {p} {_quoted(_TAIL)} ID {_quoted(_END)}"
            for tool, p in zip(tools, parameters, strict=True)
        )
        more = f' (", " call){{0,{most - 1}}}' if most > 1 else ""
        calls = f'{marker} "[" call{more} "]"'
    start = "calls"
    if choice == "auto":  # v3 knows text or calls
        start = "content | content? calls" if tokenizer.text_before_calls else "content | calls"
    return _rules(start, f"calls: {calls}", f"call: {call}", "ID: /[a-zA-Z0-9]{9}/")


_TAIL, _END = ', "id": "', '"}'


def _head(tool: Tool) -> str:
    return f'"name": "{tool.name}", "arguments": '


def _rules(start: str, *rules: str) -> str:
    return "\n".join((f"start: {start}", r"content: (/(.|\n)+/)+", *rules))


def _either(parts: Iterable[str]) -> str:
    return " | ".join(f"({part})" for part in parts)


def _quoted(text: str) -> str:
    return json.dumps(text)


def _parameters(tool: Tool, said: Sequence[str] | None) -> Mapping[str, Any]:
    if said is None:
        return lower_parameters(tool).schema
    return verbatim(_lowered_again(tool.name, json.dumps(tool.parameters)), said)


@lru_cache(maxsize=256)
def _lowered_again(name: str, parameters: str) -> Mapping[str, Any]:
    """Of a tool that was checked before: each command comes with other words."""
    return lower_parameters(Tool(name, "", json.loads(parameters))).schema


def lower_parameters(tool: Tool) -> Lowered:
    """What the arguments of a call of this tool must satisfy.

    Raises:
        GrammarError: it does not describe an object, or not one that can be enforced.
    """
    if tool.parameters.get("type") != "object":
        raise GrammarError(f'the parameters of {tool.name} must have "type": "object"')
    return lower(tool.parameters, f"the parameters of {tool.name}")


def check_tools(tools: Sequence[Tool]) -> None:
    """Raises GrammarError where two tools share a name, or a name does not fit Mistral's format."""
    for name, count in Counter(tool.name for tool in tools).items():
        if count > 1:
            raise GrammarError(f"{count} tools are called {name!r}: a call would not say which is meant")
        if not NAME.fullmatch(name):
            raise GrammarError(f"the tool name {name!r}: letters, digits, _ and - only, 1 to 64 of them")
