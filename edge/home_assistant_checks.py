"""What is wrong with `[home_assistant]` besides the types of its values."""

from __future__ import annotations

from collections.abc import Iterator

from lineside.edge.config import Config

Problem = tuple[tuple[str, ...], str]
"""A key, and a sentence that names it."""


def home_assistant_problems(config: Config) -> Iterator[Problem]:
    """Tools are not looked for: those of a server are not known before the station runs."""
    announced = config.home_assistant
    if announced is None:
        return
    for name in announced.cameras or ():
        if name not in config.cameras:
            there = ", ".join(config.cameras) or "none"
            yield (
                ("home_assistant", "cameras"),
                f"`home_assistant.cameras`: {name!r} is no camera of the station; it has {there}",
            )
    if f"{announced.discovery_prefix}/".startswith(f"{config.base_topic}/"):
        yield (
            ("home_assistant", "discovery_prefix"),
            "`home_assistant.discovery_prefix` is below the station's own base topic: it is Home Assistant's",
        )
    if announced.model_source and "model" not in config.remote.allow:
        yield (
            ("home_assistant", "model_source"),
            '`home_assistant.model_source` offers a model that nobody may install: add "model" to `[remote] allow`',
        )
