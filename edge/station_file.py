"""Reads a station file: one TOML file and `LINESIDE_*` variables, into the frozen dataclasses of `edge.config`.

Every mistake is told at once, with file, line and key, before anything is loaded or connected. A variable replaces one
value: `LINESIDE_MQTT__PASSWORD` sets `mqtt.password`.
"""

from __future__ import annotations

import itertools
import json
import os
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import is_dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from lineside.edge.broker_checks import Key, Problem
from lineside.edge.config import Config, StationConfig
from lineside.edge.current_model import installed_bundle
from lineside.edge.errors import ConfigError
from lineside.edge.file_schema import FileSchema
from lineside.edge.home_assistant_config import DiscoveryConfig
from lineside.edge.mistakes import hint, nearest, read_mistakes, texts_in, veiled, wrong_value
from lineside.edge.outside import Changes, apply_changes, read_changes
from lineside.edge.recovery import Recovery
from lineside.edge.station_checks import problems_of
from lineside.edge.toml_lines import key_lines, line_of, place
from lineside.edge.vss.station import add_vehicle
from lineside.edge.zigbee_config import move_overrides

PREFIX = "LINESIDE_"
OURS = ("folder", "file", "changed", "installed")
"""Fields of `Config` that are no keys of the file."""
SECTIONS = tuple(name for name in Config.__dataclass_fields__ if name not in OURS)
SINGLE = tuple(name for name in SECTIONS if name not in ("cameras", "triggers", "tools", "outputs", "mcp"))
TABLES = {"home_assistant": DiscoveryConfig.__dataclass_fields__} | {
    name: table.__dataclass_fields__ for name in SINGLE if (table := getattr(Config(), name)) is not None
}
"""The keys of each table that may be given by variables; one that is not in the file is made by them."""

SHORTEST = 6
"""Characters of a value of a variable that is looked for without quotes: a shorter one may be any word."""


def load_config(
    path: Path,
    environment: Mapping[str, str] = os.environ,
    *,
    also: Sequence[Callable[[Config], Iterable[Problem]]] = (),
    installed: bool = True,
    changes: Changes | None = None,
) -> Config:
    """Read the station file, and look at what it names.

    Args:
        also: further checks, told together with the others.
        changes: from outside, which are tried; those that were kept where left out.
        installed: with the bundle that was installed in the place of the file's own, where one was.

    Raises:
        ConfigError: the file cannot be read or is not TOML; or every mistake in it, each on a line of its own.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        data: dict[str, Any] = tomllib.loads(text)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not TOML: {error}") from error
    problems: list[Problem] = [((name,), f"unknown key `{name}`") for name in OURS if data.pop(name, None) is not None]
    variables, unknown = _apply_environment(data, environment)
    kept = _changes_path(data, path)
    changed = apply_changes(data, read_changes(kept) if changes is None else changes)
    _apply_environment(data, environment)  # a variable goes before a change
    outside = {tuple(key.split(".")): str(kept) for key in changed}
    recovery, texts = Recovery(data, variables), sorted(set(texts_in(data)), key=len, reverse=True)
    given = {key: data[key[0]][key[1]] for key in variables}
    problems += _vehicle(data, path, recovery)
    said = {(name, key) for name in SINGLE if isinstance(data.get(name), dict) for key in data[name]}
    move_overrides(data)
    config = _validate(data, path, changed, problems, recovery)
    if config is not None:
        if installed:
            config = replace(config, installed=installed_bundle(config.models_path, config.model.bundle))
        problems += _booleans(data, config)
        further = itertools.chain(problems_of(config, said), *(check(config) for check in also))
        problems += [problem for problem in further if not recovery.led_to(problem)]
    if problems or unknown:
        lines = key_lines(text)
        problems = [(recovery.as_written(key), message) for key, message in problems]
        problems.sort(key=lambda problem: line_of(lines, problem[0]))
        told = [
            f"{_place(path, lines, outside | variables, key)}: {veiled(_without(message, given.get(key[:2])), texts)}"
            for key, message in problems
        ]
        raise ConfigError("\n".join(dict.fromkeys([*told, *unknown])))
    return config or Config()


def _changes_path(data: Mapping[str, Any], path: Path) -> Path:
    """Before the rest of the file is known to be right: what is wrong with these two keys is told with all else."""
    table = data.get("station")
    said = {key: table[key] for key in ("name", "data") if key in table} if isinstance(table, dict) else {}
    try:
        station = StationConfig(**said)
    except ValidationError:
        station = StationConfig()
    return Config(station, folder=path.absolute().parent, file=path).changes_path


def _apply_environment(data: dict[str, Any], environment: Mapping[str, str]) -> tuple[dict[Key, str], list[str]]:
    """Put the variables into `data`. Returns the variable behind a key, and what is wrong with others."""
    variables: dict[Key, str] = {}
    unknown = []
    for variable, value in sorted(environment.items()):
        if not variable.startswith(PREFIX):
            continue
        section, _, key = variable.removeprefix(PREFIX).lower().partition("__")
        fields = TABLES.get(section, {}) if section in SINGLE else {}
        if key not in fields:
            named = f"unknown key `{section}.{key}`" if key else "unknown key"
            known = [f"{PREFIX}{table}__{each}".upper() for table, keys in TABLES.items() for each in keys]
            meant = hint(nearest(variable, known)) if key else ""
            unknown.append(f"{variable}: {named}{meant or f'; a name such as {PREFIX}MQTT__PASSWORD is right'}")
        elif isinstance(table := data.setdefault(section, {}), dict):
            table[key] = value
            variables[section, key] = variable
    return variables, unknown


@cache
def _adapter() -> TypeAdapter[Config]:
    return TypeAdapter(Config)


@cache
def station_schema() -> FileSchema:
    """Made where a file has a mistake."""
    return FileSchema(_adapter(), hidden=OURS)


def _vehicle(data: dict[str, Any], path: Path, recovery: Recovery) -> list[Problem]:
    """Adds the tools of a vehicle, by what the rest of the file says when its mistakes are mended."""
    problems: list[Problem] = []
    later: dict[str, Any] = {name: data.pop(name) for name in ("tools", "mcp", "safety") if name in data}
    _validate(data, path, {}, problems, recovery)
    data |= later
    found = add_vehicle(data, path.absolute().parent)
    if any(key[0] == "vss" for key, _ in [*problems, *found]):
        recovery.doubt("tools", "safety")
        for tool in data["tools"].values() if isinstance(data.get("tools"), dict) else ():
            if isinstance(tool, dict):
                tool.setdefault("description", "-")
    return problems + [problem for problem in found if not recovery.led_to(problem)]


def _validate(
    data: dict[str, Any], path: Path, changed: dict[str, Any], problems: list[Problem], recovery: Recovery
) -> Config | None:
    """What the types say. What is wrong is told and mended as it was probably meant, so that the rest is looked at."""
    while True:
        try:
            ours = {"folder": path.absolute().parent, "file": path, "changed": changed}
            return _adapter().validate_python(data | ours)
        except ValidationError as error:
            found = read_mistakes(error, station_schema(), data, unquoted=recovery.unquoted)
        problems += [(each.key, each.sentence) for each in found if recovery.is_new(each)]
        if not recovery.mend(found, station_schema()):
            return None


def _booleans(data: Mapping[str, Any], config: Any, above: Key = ()) -> Iterator[Problem]:
    """`true` where a number or text belongs: pydantic makes 1 of it."""
    for name, value in data.items():
        taken = config.get(name) if isinstance(config, Mapping) else getattr(config, name, None)
        key = (*above, name)
        values, kept = (value, taken) if isinstance(value, list) and isinstance(taken, tuple) else ([value], [taken])
        for at, (said, got) in enumerate(zip(values, kept, strict=False)):
            if isinstance(said, bool) and isinstance(got, int | float | str) and not isinstance(got, bool):
                place_in: tuple[str | int, ...] = (*key, at) if values is value else key
                yield key, wrong_value(place_in, said, station_schema())
        if isinstance(value, Mapping) and (is_dataclass(taken) or isinstance(taken, Mapping)):
            yield from _booleans(value, taken, key)


def _without(message: str, given: str | None) -> str:
    """A value that a variable gives is not shown."""
    if not given:
        return message
    forms = {repr(given), json.dumps(given), f"`{given}`"} | ({given} if len(given) >= SHORTEST else set())
    for form in sorted(forms, key=len, reverse=True):
        message = message.replace(form, "***")
    return message


def _place(path: Path, lines: Mapping[Key, int], variables: Mapping[Key, str], key: Key) -> str:
    """Where a mistake is: a variable, the file of changes from outside, or the station file and its line."""
    for length in range(len(key), 0, -1):
        if key[:length] in variables:
            return variables[key[:length]]
    return place(path, lines, key)
