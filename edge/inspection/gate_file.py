"""What `lineside learn` leaves in the data folder, and the daemon takes up."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import numpy as np

from lineside.edge.errors import ConfigError
from lineside.edge.inspection.prepared import check_prepared
from lineside.runtime.inspection.gate_memory import GateMemory
from lineside.runtime.inspection.preparation import AS_GIVEN, Preparation

FORMAT, PREPARED = "lineside.gate/3", "lineside.gate/4"
"""Of pictures as the camera gives them, as every Lineside has learnt; and of a part or of turned ones."""


def write_gate(path: Path, memory: GateMemory, preparation: Preparation = AS_GIVEN) -> None:
    """Replace the file at once, so that a daemon never reads half of it. Raises ConfigError."""
    partial = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            np.savez(
                file,
                format=np.asarray(FORMAT if preparation == AS_GIVEN else PREPARED),
                rotate=np.asarray(preparation.rotate),
                region=np.asarray(preparation.region or (), np.int64),
                features_sha256=np.asarray(memory.features_sha256),
                patches=memory.patches.astype(np.float16),
                good_scores=memory.good_scores,
                bad_scores=memory.bad_scores,
                thresholds=np.asarray([memory.pass_below, memory.fail_above, memory.false_alarms], np.float64),
            )
        os.replace(partial, path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise ConfigError(f"{path} cannot be written ({error.strerror})") from error


def read_gate(path: Path, features_sha256: str, preparation: Preparation = AS_GIVEN) -> GateMemory | None:
    """What was learnt with the network of that hash; None where there is no file.

    Raises:
        ConfigError: the file cannot be read, is not what `lineside learn` writes, is of another version of it, or was
            learnt from pictures that were made ready in another way.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as content:
            known = str(content["format"]) in (FORMAT, PREPARED)
            if not known or str(content["features_sha256"]) != features_sha256:
                raise ConfigError(f"{path} is of another version of Lineside: run `lineside learn` again")
            check_prepared(path, content, preparation, "run `lineside learn` again")
            patches = np.asarray(content["patches"], np.float32)
            good, bad = (np.asarray(content[name], np.float32) for name in ("good_scores", "bad_scores"))
            pass_below, fail_above, false_alarms = (float(value) for value in content["thresholds"])
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror or error})") from error
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ConfigError(f"{path} is damaged ({error}): run `lineside learn` again") from error
    sound = patches.ndim == 2 and len(patches) and len(good) >= 2 and 0 <= pass_below < fail_above
    if not sound or not np.isfinite(patches).all() or not np.isfinite(good).all():
        raise ConfigError(f"{path} is damaged: run `lineside learn` again")
    return GateMemory(patches, good, bad, pass_below, fail_above, false_alarms, features_sha256)
