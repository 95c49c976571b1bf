"""Settings of a station that were changed from outside, in a file of its data folder; the station file stays as it is.

`station.remote.json` has values by key, such as `inspect.pass_below`, below the word of `[remote] allow` that let them
in. Where the station file takes the word back they do not count.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from lineside.edge.errors import ConfigError
from lineside.edge.lasting import replace_file

Word = Literal["config", "switch"]
Changes = dict[Word, dict[str, Any]]
_CHANGES: TypeAdapter[Changes] = TypeAdapter(Changes)
INSPECT = frozenset(
    {"defect_types", "instruction", "part", "pass_below", "fail_above", "any_way_up", "max_age_s", "deadline_s"}
)
CAMERA = frozenset({"defect_types", "instruction", "part", "any_way_up", "interval_s", "loop", "black_after"})
"""What `cmd/config` may change: no tool, no limit, no policy, no right, no address, and no path on this machine."""


def read_changes(path: Path) -> Changes:
    """Raises ConfigError where the file cannot be used."""
    try:
        return _CHANGES.validate_json(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValidationError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not what a change from outside writes"
        raise ConfigError(f"{path} cannot be read ({why}): delete it to go back to the station file") from None


def write_changes(path: Path, changes: Changes) -> None:
    """On disk when it returns. Raises OSError, and then the former ones count."""
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, json.dumps(changes, indent=2, ensure_ascii=False).encode() + b"\n")


def apply_changes(data: dict[str, Any], changes: Changes) -> dict[str, Any]:
    """Put into the contents of a station file what it allows; returns that, by key.

    What is said of a camera that the file has no more goes by.
    """
    remote = data.get("remote")
    allowed = remote.get("allow") if isinstance(remote, Mapping) else None
    applied = {}
    for word, values in changes.items():
        for key, value in values.items() if isinstance(allowed, list) and word in allowed else ():
            *above, name = key.split(".")
            if (table := _table(data, above)) is not None:
                applied[key] = table[name] = value
    return applied


def settings_of(inspect: Any, cameras: Mapping[str, Any], allow: Collection[str]) -> dict[str, Any]:
    """By key, what could be changed from outside, as it is now: of `[inspect]` and `[cameras]` as they were read."""
    words: list[tuple[Word, Collection[str]]] = [("config", CAMERA), ("switch", ("enabled", "inspected"))]
    settings = {f"inspect.{key}": getattr(inspect, key) for key in sorted(INSPECT) if "config" in allow}
    for word, keys in words:
        if word in allow:
            settings |= {
                f"cameras.{name}.{key}": getattr(camera, key)
                for name, camera in cameras.items()
                for key in sorted(keys)
            }
    return settings


def _table(data: dict[str, Any], above: list[str]) -> dict[str, Any] | None:
    """`[inspect]`, which is there where it is not written, or a camera's; no other, whatever the file says."""
    match above:
        case ["inspect"]:
            table = data.setdefault("inspect", {})
        case ["cameras", camera] if isinstance(cameras := data.get("cameras"), dict):
            table = cameras.get(camera)
        case _:
            table = None
    return table if isinstance(table, dict) else None
