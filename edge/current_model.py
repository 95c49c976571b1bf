"""Which bundle a station runs, once one was installed in the place of that which its station file names.

`lineside.models/` beside the database has the bundles, each in a folder that is named by its SHA-256, and
`current.json`, which says which of them runs. That file is replaced in one step: a power cut leaves
the old model or the new one.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError

from lineside.edge.errors import ConfigError
from lineside.edge.lasting import replace_file

CURRENT, BUNDLES = "current.json", "bundles"
Digest = Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")]


@dataclass(frozen=True)
class Current:
    """Bundles by the SHA-256 of their `bundle.json`; empty for the one that the station file names.

    Attributes:
        bundle: the one that runs.
        former: the one that ran before it, for a rollback; None where there is none.
        instead_of: `model.bundle` as the station file had it when the bundle was installed. Where it has another now,
            the file counts.
    """

    bundle: Digest = ""
    former: Digest | None = None
    instead_of: str = ""


_CURRENT = TypeAdapter(Current)


def models_folder(database: Path) -> Path:
    """Of the station with this database: `lineside.models` beside `lineside.db`."""
    return database.with_name(f"{database.stem}.models")


def read_current(folder: Path) -> Current:
    """Raises ConfigError where the file cannot be used."""
    path = folder / CURRENT
    try:
        return _CURRENT.validate_json(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return Current()
    except (OSError, ValidationError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not what an installation writes"
        raise ConfigError(f"{path} cannot be read ({why}): delete it to run the bundle of the station file") from None


def write_current(folder: Path, current: Current) -> None:
    """On disk when it returns. Raises OSError, and then the former one counts."""
    replace_file(folder / CURRENT, json.dumps(asdict(current), indent=2).encode() + b"\n")


def installed_bundle(folder: Path, named: str) -> Path | None:
    """The folder of the bundle that runs in the place of `named`, the station file's; None where that one runs.

    Raises ConfigError.
    """
    current = read_current(folder)
    return folder / BUNDLES / current.bundle if current.bundle and current.instead_of == named else None
