"""Reads a station file: one TOML file and `LINESIDE_*` variables, into the frozen dataclasses of `edge.config`.

Every mistake is told at once, with file, line and key, before anything is loaded or connected. A variable replaces one
value: `LINESIDE_MQTT__PASSWORD` sets `mqtt.password`.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import is_dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from lineside.edge.broker_checks import Key, Problem
from lineside.edge.config import Config, StationConfig
from lineside.edge.current_model import installed_bundle
from lineside.edge.errors import ConfigError
from lineside.edge.home_assistant_config import DiscoveryConfig
from lineside.edge.outside import Changes, apply_changes, read_changes
from lineside.edge.station_checks import problems_of
from lineside.edge.toml_lines import key_lines, line_of
from lineside.edge.vss.station import add_vehicle
from lineside.edge.zigbee_config import move_overrides

PREFIX = "LINESIDE_"
OURS = ("folder", "file", "changed", "installed")
"""Fields of `Config` that are no keys of the file."""
SECTIONS = tuple(name for name in Config.__dataclass_fields__ if name not in OURS)
_WORDS: dict[type, str] = {int: "an integer", float: "a number", str: "a text"}
SINGLE = tuple(name for name in SECTIONS if name not in ("cameras", "triggers", "tools", "outputs", "mcp"))
TABLES = {"home_assistant": DiscoveryConfig.__dataclass_fields__} | {
    name: table.__dataclass_fields__ for name in SINGLE if (table := getattr(Config(), name)) is not None
}
"""The keys of each table that may be given by variables; one that is not in the file is made by them."""


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
    problems += add_vehicle(data, path.absolute().parent)
    said = {(name, key) for name in SINGLE if isinstance(data.get(name), dict) for key in data[name]}
    move_overrides(data)
    config = _validate(data, path, changed, problems)
    if config is not None:
        if installed:
            config = replace(config, installed=installed_bundle(config.models_path, config.model.bundle))
        problems += _booleans(data, config)
        problems += problems_of(config, said)
        for check in also:
            problems += check(config)
    if problems or unknown:
        lines = key_lines(text)
        problems.sort(key=lambda problem: line_of(lines, problem[0]))
        told = [f"{_place(path, lines, outside | variables, key)}: {message}" for key, message in problems]
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
            unknown.append(f"{variable}: {named}; a name such as {PREFIX}MQTT__PASSWORD is right")
        elif isinstance(table := data.setdefault(section, {}), dict):
            table[key] = value
            variables[section, key] = variable
    return variables, unknown


def _validate(data: dict[str, Any], path: Path, changed: dict[str, Any], problems: list[Problem]) -> Config | None:
    """What the types say. What is wrong is told and then left out, so that the rest is looked at too."""
    adapter = TypeAdapter(Config)
    while True:
        try:
            ours = {"folder": path.absolute().parent, "file": path, "changed": changed}
            return adapter.validate_python(data | ours)
        except ValidationError as error:
            found = [(_key(item["loc"]), item) for item in error.errors(include_input=False, include_url=False)]
        for key, item in found:
            unknown = item["type"] in ("unexpected_keyword_argument", "extra_forbidden")
            name = ".".join(key)
            problems.append((key, f"unknown key `{name}`" if unknown else f"`{name}`: {item['msg']}"))
        left_out = [_leave_out(data, key, missing="missing" in item["type"]) for key, item in found]
        if not any(left_out):
            return None


def _key(location: Sequence[object]) -> Key:
    return tuple(str(part) for part in location if part != "Config")


def _leave_out(data: dict[str, Any], key: Key, *, missing: bool) -> bool:
    """The value, or what is nearest above it in the file; the whole table where a key of it is missing."""
    tables: list[dict[str, Any]] = [data]
    for part in key[:-1] if missing else key:
        inner = tables[-1].get(part)
        if not isinstance(inner, dict):
            break
        tables.append(inner)
    depth = min(len(tables), len(key) - missing)
    if depth < 1 or key[depth - 1] not in tables[depth - 1]:
        return False
    del tables[depth - 1][key[depth - 1]]
    return True


def _booleans(data: Mapping[str, Any], config: Any, above: Key = ()) -> Iterator[Problem]:
    """`true` where a number or text belongs: pydantic makes 1 of it."""
    for name, value in data.items():
        taken = config.get(name) if isinstance(config, Mapping) else getattr(config, name, None)
        key = (*above, name)
        if isinstance(value, bool) and isinstance(taken, int | float | str) and not isinstance(taken, bool):
            yield key, f"`{'.'.join(key)}` is {str(value).lower()}, and {_WORDS[type(taken)]} belongs there"
        elif isinstance(value, Mapping) and (is_dataclass(taken) or isinstance(taken, Mapping)):
            yield from _booleans(value, taken, key)


def _place(path: Path, lines: Mapping[Key, int], variables: Mapping[Key, str], key: Key) -> str:
    """Where a mistake is: a variable, the file of changes from outside, or the station file and its line."""
    for length in range(len(key), 0, -1):
        if key[:length] in variables:
            return variables[key[:length]]
    line = line_of(lines, key)
    return f"{path}:{line}" if line else str(path)
