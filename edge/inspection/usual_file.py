"""How a camera's good pictures usually are, as `learn` and `calibrate` leave it in the data folder."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import numpy as np

from lineside.edge.errors import ConfigError
from lineside.edge.inspection.prepared import check_prepared
from lineside.runtime.inspection.preparation import AS_GIVEN, Preparation
from lineside.runtime.inspection.usual import Usual

FORMAT, PREPARED = "lineside.usual/1", "lineside.usual/2"
"""As of a gate's file."""
AGAIN = "run `lineside learn` or `lineside calibrate` again"


def write_usual(path: Path, usual: Usual, preparation: Preparation = AS_GIVEN) -> None:
    """Replace the file at once, so that a daemon never reads half of it. Raises ConfigError."""
    partial = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            np.savez_compressed(
                file,
                format=np.asarray(FORMAT if preparation == AS_GIVEN else PREPARED),
                rotate=np.asarray(preparation.rotate),
                region=np.asarray(preparation.region or (), np.int64),
                size=np.asarray(usual.size),
                brightness=np.asarray(usual.brightness),
                sharpness=np.asarray(usual.sharpness),
                others=np.asarray([usual.farthest, usual.likeness, usual.unsure]),
                small=usual.small,
            )
        os.replace(partial, path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise ConfigError(f"{path} cannot be written ({error.strerror})") from error


def read_usual(path: Path, preparation: Preparation = AS_GIVEN) -> Usual | None:
    """None where there is no file.

    Raises:
        ConfigError: the file cannot be read, is not what Lineside writes, is of another version of it, or of pictures
            that were made ready in another way.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as content:
            if str(content["format"]) not in (FORMAT, PREPARED):
                raise ConfigError(f"{path} is of another version of Lineside: {AGAIN}")
            check_prepared(path, content, preparation, AGAIN)
            width, height = (int(value) for value in content["size"])
            low, middle, high = (float(value) for value in content["brightness"])
            least, sharp = (float(value) for value in content["sharpness"])
            farthest, likeness, unsure = (float(value) for value in content["others"])
            small = np.asarray(content["small"])
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror or error})") from error
    except (ValueError, TypeError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ConfigError(f"{path} is damaged ({error}): {AGAIN}") from error
    numbers = (low, middle, high, least, sharp, farthest, likeness, unsure)
    if small.dtype != np.uint8 or small.ndim != 2 or min(width, height) < 1 or not np.isfinite(numbers).all():
        raise ConfigError(f"{path} is damaged: {AGAIN}")
    return Usual((width, height), (low, middle, high), (least, sharp), farthest, likeness, unsure, small)
