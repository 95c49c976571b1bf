"""`cmd/config` and `cmd/switch`: settings that are changed from outside, taken as SIGHUP takes a station file."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import fields
from typing import Any

from lineside.edge.calls.tool_checks import tool_problems
from lineside.edge.commands.body import parse_change
from lineside.edge.config import STATION, Config
from lineside.edge.errors import EdgeError, RequestError, UpdateError
from lineside.edge.live.reload import Reloader, Station, prepare, take
from lineside.edge.outside import CAMERA, INSPECT, Word, read_changes, write_changes
from lineside.edge.station_file import load_config
from lineside.edge.wire.changes import ConfigCommand, SwitchCommand
from lineside.edge.wire.messages import JSON_TYPE, Reply, StationEvent, WireError
from lineside.edge.wire.store import Outgoing, StoredCommand
from lineside.runtime.errors import EngineError

log = logging.getLogger("lineside.live")
SWITCHES = {"camera": "enabled", "inspection": "inspected"}
CHANGEABLE = ("inspect", "cameras", "changed")
"""Fields of a `Config` in which the new one may differ."""


class Settings:
    """Each command is taken whole or not at all.

    Args:
        reloader: whose lock is held while the station changes.
    """

    def __init__(self, station: Station, reloader: Reloader, send: Callable[[Outgoing], None]) -> None:
        self._station, self._lock, self._send = station, reloader.lock, send

    def config(self, command: StoredCommand, waiting: Callable[[], None]) -> Reply:
        """Raises RequestError: all is as before."""
        request = parse_change(ConfigCommand, command.payload)
        waiting()
        return self._guarded(command.name, request.transaction, "config", request.set)

    def switch(self, command: StoredCommand, waiting: Callable[[], None]) -> Reply:
        """Raises RequestError: all is as before."""
        request = parse_change(SwitchCommand, command.payload)
        waiting()
        if request.camera not in self._station.config.cameras:
            raise RequestError("unknown_camera", f"{request.camera!r} is not in the station file's [cameras]")
        key = f"cameras.{request.camera}.{SWITCHES[request.what]}"
        return self._guarded(command.name, request.transaction, "switch", {key: request.on})

    def _guarded(self, name: str, transaction: str, word: Word, values: Mapping[str, Any]) -> Reply:
        said = ", ".join(f"{key} = {value!r}" for key, value in values.items())
        try:
            with self._lock:
                self._change(word, values)
        except (EdgeError, EngineError) as error:
            code = error.code if isinstance(error, RequestError | EngineError) else "station_refused"
            log.error("a change from outside is not taken: %s", error)
            self._say(StationEvent(event_type="station_refused", error=WireError(code=code, message=str(error))))
            raise RequestError(code, str(error)) from error
        log.info("changed from outside: %s", said)
        self._say(StationEvent(event_type="station_changed", detail=said))
        return Reply(command=name, transaction=transaction, ok=True, text=said)

    def _change(self, word: Word, values: Mapping[str, Any]) -> None:
        """What cannot be undone comes last: kept on the disk, then taken."""
        station, file, path = self._station, self._station.config.file, self._station.config.changes_path
        if word == "config":
            for key in values:
                _check_key(key, station.config.cameras)
        changes = read_changes(path)
        kept = {**changes.get(word, {}), **values}
        changes[word] = {key: value for key, value in kept.items() if value is not None}
        new = prepare(station, load_config(file, also=(tool_problems,), changes=changes))
        if differ := _beyond(station.config, new.config):
            raise UpdateError(
                "station_file_changed",
                f"the station file has changed on the disk, in {differ}, which nothing from outside takes up: send the "
                "station SIGHUP first",
            )
        try:
            write_changes(path, changes)
        except OSError as error:
            raise UpdateError("storage", f"{path} cannot be written ({error.strerror})") from error
        take(station, new)

    def _say(self, event: StationEvent) -> None:
        self._send(Outgoing(self._station.topics.event(STATION), event.encode(), JSON_TYPE))


def _check_key(key: str, cameras: Collection[str]) -> None:
    """Raises UpdateError."""
    match key.split("."):
        case ["inspect", name] if name in INSPECT:
            return
        case ["cameras", camera, name] if camera in cameras and name in CAMERA:
            return
        case ["cameras", camera, *_] if camera not in cameras:
            why = f"there is no camera {camera!r} in the station file"
        case ["cameras", _, "enabled" | "inspected"]:
            why = "send it to cmd/switch"
        case _:
            why = "it is changed in the station file alone"
    raise UpdateError("not_from_outside", f"`{key}` is not changed from outside: {why}")


def _beyond(before: Config, after: Config) -> str:
    """Tables that differ and may not."""
    names = (each.name for each in fields(Config) if each.name not in CHANGEABLE)
    return ", ".join(f"`{name}`" for name in names if getattr(before, name) != getattr(after, name))
