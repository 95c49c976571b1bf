"""`lineside learn`: a handful of good pictures in, a gate for a camera out."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lineside.edge.config import Config
from lineside.edge.errors import ConfigError
from lineside.edge.inspection.evidence import encode_jpeg
from lineside.edge.inspection.gate_file import write_gate
from lineside.edge.inspection.gates import Gates
from lineside.edge.inspection.preparing import preparation_of, upright_picture
from lineside.edge.inspection.usual_file import write_usual
from lineside.edge.progress import progress
from lineside.edge.tuning.heat import Tile, contact_sheet
from lineside.edge.tuning.learn_report import LearnReport
from lineside.runtime.chat import Picture
from lineside.runtime.errors import PictureError
from lineside.runtime.inspection.drift import gate_usual
from lineside.runtime.inspection.gate import Gate
from lineside.runtime.inspection.gate_memory import Learnt, learn
from lineside.runtime.inspection.gate_thresholds import FALSE_ALARMS
from lineside.runtime.inspection.picture_figures import figures_of
from lineside.runtime.inspection.preparation import Preparation
from lineside.runtime.inspection.usual import usual_of
from lineside.runtime.picture_kinds import SUFFIXES

log = logging.getLogger("lineside.learn")
MOST_PICTURES = 200
BAD = "bad"
"""The folder beside the good pictures with those of broken parts."""
LEAST_FALSE_ALARMS, MOST_FALSE_ALARMS = 0.001, 0.3


@dataclass(frozen=True)
class _Pictures:
    names: list[str]
    pictures: list[Picture]
    skipped: int


def learn_station(config: Config, folder: Path, camera: str, false_alarms: float = FALSE_ALARMS) -> LearnReport:
    """Learn the good pictures in `folder`, and write a gate into the data folder for `camera`, or for all.

    Raises:
        ConfigError: no such folder or camera, no pictures, a share that makes no sense, or a file cannot be written.
        EngineError: too few pictures that can be read.
    """
    started = time.monotonic()
    if not LEAST_FALSE_ALARMS <= false_alarms <= MOST_FALSE_ALARMS:
        raise ConfigError(f"--false-alarms is from {LEAST_FALSE_ALARMS} to {MOST_FALSE_ALARMS}, not {false_alarms:g}")
    if camera and camera not in config.cameras:
        raise ConfigError(f"there is no camera {camera!r}; the station has {', '.join(config.cameras) or 'none'}")
    cameras = [camera] if camera else list(config.cameras)
    if not cameras:
        raise ConfigError("the station has no camera: add one to the station file")
    preparations = {preparation_of(config.cameras[name]) for name in cameras}
    if len(preparations) > 1:
        raise ConfigError(
            f"the cameras differ in `region` or `rotate`: choose one with --camera ({', '.join(cameras)})"
        )
    preparation = preparations.pop()
    good = _read(folder, preparation, config.inspect.max_pixels)
    if not good.names and not good.skipped:
        raise ConfigError(
            f"{folder} has no pictures ({', '.join(sorted(SUFFIXES))}) itself: put some of good parts into it"
        )
    bad = _Pictures([], [], 0)
    if (folder / BAD).is_dir():
        bad = _read(folder / BAD, preparation, config.inspect.max_pixels)
    features = Gates(config.model.threads).features
    learnt = learn(features, good.pictures, bad.pictures, false_alarms)
    paths = [config.gate_path(name) for name in cameras]
    kept = [each for at, each in enumerate(good.pictures) if at not in learnt.left_out]
    usual = usual_of([figures_of(each) for each in kept], gate_usual(learnt.memory).unsure)
    for name, path in zip(cameras, paths, strict=True):
        write_gate(path, learnt.memory, preparation)
        write_usual(config.usual_path(name), usual, preparation)
    sheet = paths[0].with_suffix(".jpg")
    _write_sheet(sheet, _tiles(Gate(features, learnt.memory), learnt, good, bad), learnt)
    return LearnReport(
        cameras,
        good.names,
        bad.names,
        good.skipped + bad.skipped,
        learnt,
        usual,
        paths,
        sheet,
        time.monotonic() - started,
    )


def _read(folder: Path, preparation: Preparation, max_pixels: int) -> _Pictures:
    try:
        paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    except OSError as error:
        raise ConfigError(f"{folder} cannot be read ({error.strerror})") from error
    if len(paths) > MOST_PICTURES:
        raise ConfigError(f"{folder} has {len(paths)} pictures; at most {MOST_PICTURES}: 10 to 50 are enough")
    found = _Pictures([], [], 0)
    skipped = 0
    for path in progress(paths, "reading"):
        try:
            found.pictures.append(preparation.part(upright_picture(path.read_bytes(), preparation, max_pixels)))
            found.names.append(path.name)
        except (OSError, PictureError) as error:
            skipped += 1
            log.warning("%s is left out: %s", path, error)
    return _Pictures(found.names, found.pictures, skipped)


def _tiles(gate: Gate, learnt: Learnt, good: _Pictures, bad: _Pictures) -> list[Tile]:
    """Of all pictures; a good one with what it got held against the others."""
    tiles = []
    for at, name in enumerate(good.names):
        caption = f"{name}  LEFT OUT" if at in learnt.left_out else name
        tiles.append(Tile(good.pictures[at], learnt.heats[at], float(learnt.scores[at]), caption, shown_bad=False))
    for name, picture in zip(bad.names, bad.pictures, strict=True):
        seen = gate.observe(picture)
        tiles.append(Tile(picture, seen.heat, seen.score, f"{BAD}/{name}", shown_bad=True))
    return tiles


def _write_sheet(path: Path, tiles: Sequence[Tile], learnt: Learnt) -> None:
    try:
        path.write_bytes(encode_jpeg(contact_sheet(tiles, learnt.memory)))
    except OSError as error:
        raise ConfigError(f"{path} cannot be written ({error.strerror})") from error
