"""Other models take the place of those that run, between two frames."""

from __future__ import annotations

from collections.abc import Callable

from lineside.edge.commands.bounds import asked_beyond
from lineside.edge.config import Config
from lineside.edge.frames.pipeline import open_look
from lineside.edge.live.reload import Station
from lineside.edge.models import Models, device_of, retire


def exchange_models(station: Station, config: Config, models: Models, settle: Callable[[], object]) -> None:
    """The frame under way, and a command that was begun, end with the model that they began with.

    Args:
        config: of the station, with the new model in it.
        settle: makes the new model that of the next start; called when nothing but that can fail any more.

    Raises:
        ConfigError, UpdateError: nothing has changed.
    """
    look = open_look(config, models.frames_engine)
    conversation = station.commands.converse(config, models.commands_engine, None, station.calls.rules)
    settle()
    before = station.models
    for sentence in (
        *before.degraded(),
        *station.pipeline.look.degraded,
        *asked_beyond(station.config, before.commands_engine),
    ):
        station.degraded.clear(sentence)
    for sentence in (*models.degraded(), *look.degraded, *asked_beyond(config, models.commands_engine)):
        station.degraded.set(sentence, sentence)
    station.figures.exchange(models)
    station.history.exchange(device_of(models.frames))
    station.commands.exchange(config, conversation)
    station.models, station.config = models, config
    station.pipeline.exchange(look)
    station.announcements.exchange(config, models)
    station.attached.taken()
    retire(before, models)
