"""What decides on a station's commands behind its phrases: made from the station file, the model and a fit."""

from __future__ import annotations

import logging

from lineside.edge.commands.phrases.declared import declared_words, sources
from lineside.edge.config import Config
from lineside.edge.errors import ConfigError
from lineside.edge.trust_file import read_trust
from lineside.runtime.chat import Tool
from lineside.runtime.commands.decide import Decider
from lineside.runtime.commands.declared import Declared
from lineside.runtime.commands.trust import Trust, enough
from lineside.runtime.engine.engine import Engine
from lineside.runtime.errors import GrammarError

log = logging.getLogger("lineside.commands")


def declare(config: Config) -> list[Declared]:
    """What the checks need of the tools' declarations, with words and phrases of the phrase files too.

    Raises:
        ConfigError: a tool undoes a tool that is not there, or a phrase file has a mistake.
    """
    for name, tool in config.tools.items():
        if tool.opposite and tool.opposite not in config.tools:
            raise ConfigError(
                f"`tools.{name}.opposite`: the station has no tool {tool.opposite}; it has {', '.join(config.tools)}"
            )
    phrases: dict[str, list[str]] = {}
    for source in sources(config):
        for phrase in source.phrases:
            phrases.setdefault(phrase.tool, []).append(phrase.text)
    words = declared_words(config)
    return [
        Declared(
            Tool(name, tool.description, tool.parameters),
            phrases=tuple(phrases.get(name, ())),
            words=words.get(name, {}),
            units=tool.units,
            opposite=tool.opposite,
            read_only=tool.read_only if tool.acts else True,
            unchecked=frozenset(tool.unchecked),
        )
        for name, tool in config.tools.items()
    ]


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
    tools = declare(config)
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
