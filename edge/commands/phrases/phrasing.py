"""Where a command asks the phrases. A station without any loads no matcher."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

from lineside.edge.config import Config
from lineside.edge.degraded import Degraded
from lineside.edge.errors import ConfigError
from lineside.runtime.chat import ToolCall

SERVERS = "phrases of servers"
"""The key of what `degraded` says of them."""


class Phrases(Protocol):
    def call(self, text: str, tool_choice: str) -> ToolCall | None:
        """The call that a sentence is, without an id; None where the model has to decide.

        Raises:
            RequestError: the sentence is a phrase, and may not be carried out.
        """


class NoPhrases:
    def call(self, text: str, tool_choice: str) -> ToolCall | None:  # noqa: ARG002
        return None


def has_phrases(config: Config) -> bool:
    return bool(config.commands.phrase_files or (config.vss.file and config.vss.languages)) or any(
        tool.phrases or tool.home_assistant for tool in config.tools.values()
    )


def without_phrases(config: Config) -> Config:
    """The same station, where the model decides on every sentence."""
    tools = {name: replace(tool, phrases=(), home_assistant=()) for name, tool in config.tools.items()}
    vss = replace(config.vss, languages=())
    return replace(config, commands=replace(config.commands, phrase_files=(), home_assistant=()), tools=tools, vss=vss)


def phrases_with_servers(config: Config, without: Phrases, degraded: Degraded) -> Phrases:
    """With those of the tools of MCP servers, which are known when their servers have answered.

    What a server says of its tools keeps no station from starting: where a phrase does not fit it, the phrases of
    servers' tools are left out, and `degraded` says so.
    """
    degraded.clear(SERVERS)
    if not config.mcp:
        return without
    try:
        return phrases_of(config)
    except ConfigError as error:
        degraded.set(SERVERS, f"phrases of MCP servers' tools are left out: {error}")
        return without


def phrases_of(config: Config) -> Phrases:
    """Raises ConfigError where a phrase has a mistake."""
    if not has_phrases(config):
        return NoPhrases()
    from lineside.edge.commands.phrases.book import PhraseBook

    return PhraseBook(config)
