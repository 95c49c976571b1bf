"""Commands besides `ask`: each has a topic of its own, and is refused unless the station file allows it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from lineside.edge.commands.inbox import Handler
from lineside.edge.errors import RequestError
from lineside.edge.live.call_command import CallCommands
from lineside.edge.live.model_commands import ModelCommands
from lineside.edge.live.reload import Reloader, Station
from lineside.edge.live.settings import Settings
from lineside.edge.remote_config import Allowed, RemoteConfig
from lineside.edge.wire.messages import Reply
from lineside.edge.wire.store import Outgoing, StoredCommand

WORDS: Mapping[str, Allowed] = {
    "model-install": "model",
    "model-rollback": "model",
    "config": "config",
    "switch": "switch",
    "call": "call",
}
"""What `[remote] allow` must have for a command."""


def allowed_commands(remote: RemoteConfig) -> list[str]:
    return [name for name, word in WORDS.items() if word in remote.allow]


class Remote:
    """Answers them.

    Attributes:
        handlers: one for each command: its own, or one that refuses it.
    """

    def __init__(self, station: Station, reloader: Reloader, send: Callable[[Outgoing], None]) -> None:
        self._models = ModelCommands(station, reloader, send, station.commands.stopping)
        settings, allowed = Settings(station, reloader, send), station.config.remote.allow
        handlers: dict[str, Handler] = {
            "model-install": self._models.install,
            "model-rollback": self._models.roll_back,
            "config": settings.config,
            "switch": settings.switch,
            "call": CallCommands(station).call,
        }
        self.handlers = {name: handlers[name] if word in allowed else _refusing(word) for name, word in WORDS.items()}

    def start(self) -> None:
        """Say what came of an installation that the last start was ended in."""
        self._models.say_interrupted()


def _refusing(word: str) -> Handler:
    def refuse(command: StoredCommand, _waiting: Callable[[], None]) -> Reply:
        raise RequestError(
            "not_allowed", f"cmd/{command.name} is not allowed: `[remote] allow` in the station file has no {word!r}"
        )

    return refuse
