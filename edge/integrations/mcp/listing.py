"""What a server lists, made into tools of the station. Every word of it comes from a stranger."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from lineside.edge.calls.policy import Policy
from lineside.edge.calls.states import States
from lineside.edge.commands.phrases.phrasing import phrases_of
from lineside.edge.config import Config
from lineside.edge.counters import Counters
from lineside.edge.errors import ConfigError
from lineside.edge.mcp_config import McpToolConfig
from lineside.edge.models import NoModel
from lineside.runtime.chat import Message, Tool
from lineside.runtime.engine.engine import Engine
from lineside.runtime.errors import GrammarError
from lineside.runtime.grammar.tool_grammar import lower_parameters

MAX_DESCRIPTION = 500
MAX_SCHEMA_BYTES = 32 * 1024
PROMPT_SHARE = 4
"""A tool may take this part of the model's context."""


@dataclass(frozen=True)
class Listed:
    """A tool as its server described it when it was first listed."""

    description: str
    parameters: Mapping[str, Any]

    def differs(self, other: Listed) -> str:
        """What a later listing has changed; nothing where it is the same."""
        changed = []
        if self.description != other.description:
            changed.append("description")
        if _canonical(self.parameters) != _canonical(other.parameters):
            changed.append("parameters")
        return " and ".join(changed)


def declared(
    name: str, tool: McpToolConfig, listed: Listed | None, config: Config, engine: Engine | NoModel
) -> McpToolConfig:
    """The tool `name` with what its server says of it, where the station file does not say it itself.

    Raises:
        ConfigError: it cannot be offered; the sentence says why.
    """
    if listed is None and not tool.parameters:
        raise ConfigError("its server does not list it")
    if not tool.parameters and listed is not None:
        if len(_canonical(listed.parameters)) > MAX_SCHEMA_BYTES:
            raise ConfigError(f"its parameters have more than {MAX_SCHEMA_BYTES} bytes")
        tool = replace(tool, parameters=dict(listed.parameters))
    if not tool.description:
        tool = replace(tool, description=plain(listed.description if listed else "") or name)
    offered = Tool(name, tool.description, tool.parameters)
    try:
        lower_parameters(offered)  # first: what it takes has no reference that anybody would fetch
        _check_settings(name, tool, config)
        if not isinstance(engine, NoModel):
            engine.grammars.tools((offered,))
            _check_room(offered, engine)
    except GrammarError as error:
        raise ConfigError(str(error)) from error
    return tool


def _check_settings(name: str, tool: McpToolConfig, config: Config) -> None:
    """Raises ConfigError where what the station file says of the tool does not fit its parameters: what a stranger has
    changed must not keep the station from starting.
    """
    Policy({name: tool}, config.station.timezone)
    States({name: tool}, Counters())
    phrases_of(replace(config, tools={name: tool}, commands=replace(config.commands, phrase_files=())))


def plain(text: str) -> str:
    """A description without control characters, on one line, and not longer than it may be."""
    return "".join(char if char.isprintable() else " " for char in " ".join(text.split()))[:MAX_DESCRIPTION].strip()


def changes(first: Mapping[str, Listed], now: Mapping[str, Listed]) -> Iterator[tuple[str, str]]:
    """The server's tools that are there and not as they were first listed, and what differs."""
    for name, listed in now.items():
        if name in first and (changed := first[name].differs(listed)):
            yield name, changed


def _check_room(tool: Tool, engine: Engine) -> None:
    used = len(engine.tokenizer.encode_chat([Message("user", ("stop",))], [tool]).ids)
    if used > engine.capacity // PROMPT_SHARE:
        raise ConfigError(f"it takes {used} tokens of each prompt, and `model.capacity` is {engine.capacity}")


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True)
