"""What decides on a station's commands behind its phrases: made from the station file, the model and a fit."""

from __future__ import annotations

import logging

from lineside.edge.config import Config
from lineside.edge.errors import ConfigError
from lineside.edge.phrase_files import Words, example, plain_sentences, plain_words
from lineside.edge.tool_config import ToolConfig
from lineside.edge.trust_file import read_trust
from lineside.runtime.chat import Tool
from lineside.runtime.commands.decide import Decider
from lineside.runtime.commands.declared import Declared
from lineside.runtime.commands.trust import Trust, enough
from lineside.runtime.engine.engine import Engine
from lineside.runtime.errors import GrammarError

log = logging.getLogger("lineside.commands")
EXAMPLES, LONGEST_EXAMPLE = 3, 60
"""Phrases of a tool that a model may be shown, and the characters of one."""


def declared(config: Config, engine: Engine) -> list[Declared]:
    """What the model, the ranking and the checks are told of the tools.

    A model that was taught to read more than a command sees a few phrases of each tool as examples.

    Raises:
        ConfigError: a phrase file cannot be read.
    """
    words, phrases = plain_words(config), plain_sentences(config)
    shown = EXAMPLES if reads_more(engine) else 0
    return [
        _declared(name, tool, words.get(name, {}), phrases.get(name, ()), shown) for name, tool in config.tools.items()
    ]


def _declared(name: str, tool: ToolConfig, words: Words, phrases: tuple[str, ...], shown: int) -> Declared:
    examples = sorted({example(phrase) for phrase in phrases}, key=lambda text: (len(text), text))[:shown]
    said = "".join(f' "{text}"' for text in examples if len(text) <= LONGEST_EXAMPLE)
    return Declared(
        Tool(name, f"{tool.description} Examples:{said}" if said else tool.description, tool.parameters),
        phrases=phrases,
        words=words,
        units=tool.units,
        opposite=tool.opposite,
        read_only=tool.read_only if tool.acts else True,
        unchecked=frozenset(tool.unchecked),
    )


def reads_more(engine: Engine) -> bool:
    """Whether the model was taught to read more than a command; one that was not calls worse with it."""
    return engine.bundle.manifest.taught.conversation is not False


def open_decider(config: Config, engine: Engine, states: str = "") -> Decider:
    """With the confidence as it was fitted to the station's own sentences, where it was.

    Args:
        states: the longest text about states that may stand in a prompt.

    Raises:
        ConfigError: a tool cannot be offered to the model, or undoes a tool that is not there.
    """
    for name, tool in config.tools.items():
        if tool.opposite and tool.opposite not in config.tools:
            raise ConfigError(
                f"`tools.{name}.opposite`: the station has no tool {tool.opposite}; it has {', '.join(config.tools)}"
            )
    tools = declared(config, engine)
    commands = config.commands
    try:
        first = f"{commands.system}\n\n{states}" if states and reads_more(engine) else commands.system
        return Decider(engine, tools, first, trust_of(config, engine), commands.tools_at_once)
    except GrammarError as error:
        raise ConfigError(f"the tools cannot be offered to the model: {error}") from error


def trust_of(config: Config, engine: Engine) -> Trust:
    """As `lineside calibrate --commands` fitted it for this model and these tools; as the model has it otherwise."""
    least = enough(config.commands.wrong_call_costs)
    fitted = read_trust(config.commands_path)
    if fitted is None:
        return Trust(enough=least)
    if problem := fitted.problem(engine.bundle, config.tools):
        log.warning("%s is not used, %s: run `lineside calibrate --commands` again", config.commands_path, problem)
        return Trust(enough=least)
    return Trust(fitted.scale, fitted.offset, least)
