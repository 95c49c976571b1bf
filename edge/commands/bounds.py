"""What a station asks of the model in commands beyond what it was taught: sentences of `degraded`."""

from __future__ import annotations

from lineside.edge.config import Config
from lineside.edge.models import NoModel
from lineside.edge.phrase_files import sources
from lineside.runtime.engine.engine import Engine
from lineside.runtime.manifest import Taught


def asked_beyond(config: Config, engine: Engine | NoModel) -> list[str]:
    """`beyond` what the model in `engine` was taught; nothing where there is none."""
    return [] if isinstance(engine, NoModel) else beyond(config, engine.bundle.manifest.taught)


def beyond(config: Config, taught: Taught) -> list[str]:
    """Languages of the station's phrase files, and tools in one prompt. Raises ConfigError: see `sources`."""
    found: list[str] = []
    if not config.tools:
        return found
    most = taught.tools_at_once
    if most is not None and config.commands.tools_at_once > most:
        found.append(
            f"`commands.tools_at_once` is {config.commands.tools_at_once}, and the model was taught to choose from "
            f"{most}: its calls are less sure; lower it"
        )
    if taught.languages is not None:
        known = {language.split("-")[0].lower() for language in taught.languages}
        asked = {language for source in sources(config)[1:] for language in source.languages} | set(
            config.commands.home_assistant
        )
        if others := sorted(asked - known):
            found.append(
                f"commands in {', '.join(others)} are understood by phrases alone: the model was taught "
                f"{', '.join(sorted(known))}"
            )
    return found
