"""Commands that change the station: each has a topic of its own, and is refused unless the station file allows it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from lineside.edge.commands.inbox import Handler
from lineside.edge.errors import RequestError
from lineside.edge.remote_config import Allowed, RemoteConfig
from lineside.edge.wire.messages import Reply
from lineside.edge.wire.store import StoredCommand

WORDS: Mapping[str, Allowed] = {"model-install": "model", "model-rollback": "model"}
"""What `[remote] allow` must have for a command."""


def allowed_commands(remote: RemoteConfig) -> list[str]:
    return [name for name, word in WORDS.items() if word in remote.allow]


def guarded(remote: RemoteConfig, handlers: Mapping[str, Handler]) -> dict[str, Handler]:
    """One for each command that changes the station: its own, or one that refuses it."""
    return {name: handlers[name] if word in remote.allow else _refusing(word) for name, word in WORDS.items()}


def _refusing(word: str) -> Handler:
    def refuse(command: StoredCommand, _waiting: Callable[[], None]) -> Reply:
        raise RequestError(
            "not_allowed", f"cmd/{command.name} is not allowed: `[remote] allow` in the station file has no {word!r}"
        )

    return refuse
