"""What `lineside learn` leaves beside the station file, and the daemon takes up."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import numpy as np

from lineside.edge.errors import ConfigError
from lineside.runtime.bundle import Bundle
from lineside.runtime.inspection.gate import GateMemory

FORMAT = "lineside.gate/2"


def write_gate(path: Path, memory: GateMemory, bundle_sha256: str) -> None:
    """Replace the file at once, so that a daemon never reads half of it. Raises ConfigError."""
    partial = path.with_name(path.name + ".partial")
    try:
        with partial.open("wb") as file:
            np.savez(
                file,
                format=np.asarray(FORMAT),
                bundle_sha256=np.asarray(bundle_sha256),
                patches=memory.patches.astype(np.float16),
                good_scores=memory.good_scores,
                longest=np.asarray(memory.longest),
            )
        os.replace(partial, path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise ConfigError(f"{path} cannot be written ({error.strerror})") from error


def read_gate(path: Path, bundle: Bundle) -> GateMemory | None:
    """What was learnt with the bundle, or with one that it was upgraded from; None where there is no file.

    Raises:
        ConfigError: the file cannot be read, is not what `lineside learn` writes, or was learnt with another model.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as content:
            if str(content["format"]) != FORMAT:
                raise ConfigError(f"{path} is of another version: run `lineside learn` again")
            if not bundle.answers_to(str(content["bundle_sha256"])):
                raise ConfigError(f"{path} was learnt with another model: run `lineside learn` again")
            patches = np.asarray(content["patches"], np.float32)
            scores, longest = np.asarray(content["good_scores"], np.float32), int(content["longest"])
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror or error})") from error
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ConfigError(f"{path} is damaged ({error}): run `lineside learn` again") from error
    if patches.ndim != 2 or len(scores) < 2 or not np.isfinite(patches).all() or not np.isfinite(scores).all():
        raise ConfigError(f"{path} is damaged: run `lineside learn` again")
    return GateMemory(patches, scores, longest)
