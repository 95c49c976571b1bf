"""`lineside new`: a copy of a station that comes with Lineside."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from lineside.edge.config import NAME
from lineside.edge.errors import ConfigError

STATION_NAME = re.compile(r'^name = ".*"$', re.MULTILINE)


def new_station(folder: Path, templates: Path, template: str) -> Path:
    """Copy `template` of `templates` to `folder`, under the folder's name; returns the path of the station file.

    Raises:
        ConfigError: there is no such template, the folder is there already or cannot be written, or its name is none
            for a station.
    """
    known = sorted(path.parent.name for path in templates.glob("*/station.toml"))
    if template not in known:
        raise ConfigError(f"there is no template {template!r}: choose one of {', '.join(known)}")
    name = folder.absolute().name
    if not re.fullmatch(NAME, name):
        raise ConfigError(f"{name!r} cannot name a station: use letters, digits, _ and -")
    if folder.exists():
        raise ConfigError(f"{folder} is there already: choose another name, or remove it")
    partial = folder.with_name(f"{name}.partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        shutil.copytree(templates / template, partial)
        station = partial / "station.toml"
        text = station.read_text(encoding="utf-8")
        station.write_text(STATION_NAME.sub(f'name = "{name}"', text, count=1), encoding="utf-8")
        partial.rename(folder)
    except OSError as error:
        raise ConfigError(f"{folder} cannot be written ({error.strerror or error})") from error
    return folder / "station.toml"
