"""Where a station keeps its data: beside its file, and never in a checkout of somebody's sources."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

NAME = "lineside.db"


def data_folder(station: str, folder: Path, environment: Mapping[str, str] = os.environ) -> Path:
    """Of a station that names no `station.data`.

    That of the station file; where it is in a git checkout or in the installed package, a folder of the station's own
    below `XDG_STATE_HOME` (`~/.local/state`). Where the database is beside the file already, all the rest goes there.
    """
    if (folder / NAME).exists() or not _is_sources(folder.resolve()):
        return folder
    home = environment.get("XDG_STATE_HOME", "")
    state = Path(home) if home.startswith("/") else Path.home() / ".local" / "state"
    mark = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:8]
    return state / "lineside" / f"{station}-{mark}"


def _is_sources(folder: Path) -> bool:
    package = Path(__file__).parents[1]
    return folder.is_relative_to(package) or any((above / ".git").exists() for above in (folder, *folder.parents))
