"""Settings of a station that were changed from outside, in a file of its data folder; the station file stays as it is.

`station.remote.json` has values by key, such as `inspect.pass_below`, below the word of `[remote] allow` that let them
in. Where the station file takes the word back they do not count.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from lineside.edge.errors import ConfigError
from lineside.edge.lasting import replace_file

Word = Literal["config", "switch"]
Changes = dict[Word, dict[str, Any]]
_CHANGES: TypeAdapter[Changes] = TypeAdapter(Changes)


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
