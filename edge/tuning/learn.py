"""`lineside learn`: a handful of good pictures in, a gate for a camera out."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lineside.edge.config import Config
from lineside.edge.device_choice import open_engine
from lineside.edge.errors import ConfigError
from lineside.edge.inspection.evidence import encode_jpeg
from lineside.edge.inspection.gate_file import write_gate
from lineside.edge.progress import progress
from lineside.edge.tuning.heat import contact_sheet
from lineside.edge.tuning.labelled import SUFFIXES
from lineside.runtime.chat import Picture
from lineside.runtime.errors import PictureError
from lineside.runtime.inspection.gate import Gate, GateMemory, learn
from lineside.runtime.inspection.observation import GateObservation
from lineside.runtime.picture import decode_picture

log = logging.getLogger("lineside.learn")
MOST_PICTURES = 200


@dataclass(frozen=True)
class Learnt:
    """What came out, for one or more cameras with the same view."""

    cameras: list[str]
    pictures: int
    skipped: int
    memory: GateMemory
    oddest: str
    paths: list[Path]
    sheet: Path
    seconds: float

    def lines(self) -> list[str]:
        """For people."""
        memory = self.memory
        scores = memory.good_scores
        lines = [
            f"learnt      {self.pictures} good pictures for {', '.join(self.cameras)} in {self.seconds:.1f} s",
            f"scores      {scores.min():.3f} to {scores.max():.3f}, each picture held against the others",
            f"pass alone  up to {memory.pass_below:.3f}",
            f"fail alone  from {memory.fail_above:.3f}; in between the full model looks",
            f"oddest      {self.oddest}: leave it out and learn again if it is not good",
            f"picture     {self.sheet}",
        ]
        if self.skipped:
            lines.append(f"skipped     {self.skipped} pictures that cannot be read")
        if self.pictures < 10:
            lines.append("few         10 pictures or more tell better how much good parts differ")
        return lines + [f"written     {path}; restart the station to use it" for path in self.paths]


def learn_station(config: Config, folder: Path, camera: str) -> Learnt:
    """Learn the good pictures in `folder`, and write a gate beside the station file for `camera`, or for all.

    Raises:
        ConfigError: no such folder or camera, no pictures, or a file cannot be written.
        EngineError: too few pictures that can be read, or the model has no tower for it.
    """
    started = time.monotonic()
    if camera and camera not in config.cameras:
        raise ConfigError(f"there is no camera {camera!r}; the station has {', '.join(config.cameras) or 'none'}")
    cameras = [camera] if camera else list(config.cameras)
    if not cameras:
        raise ConfigError("the station has no camera: add one to the station file")
    names, pictures, skipped = _read(folder, config.inspect.max_pixels)
    engine = open_engine(config.bundle_path, device=config.model.device, threads=config.model.threads).engine
    memory = learn(engine, pictures)
    paths = [config.gate_path(name) for name in cameras]
    for path in paths:
        write_gate(path, memory, engine.bundle.sha256)
    gate = Gate(engine, memory)
    seen = [gate.observe(picture) for picture in progress(pictures, "looking again")]
    sheet = paths[0].with_suffix(".jpg")
    _write_sheet(sheet, pictures, seen, memory)
    oddest = names[int(np.argmax(memory.good_scores))]
    return Learnt(cameras, len(pictures), skipped, memory, oddest, paths, sheet, time.monotonic() - started)


def _read(folder: Path, max_pixels: int) -> tuple[list[str], list[Picture], int]:
    try:
        paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    except OSError as error:
        raise ConfigError(f"{folder} cannot be read ({error.strerror})") from error
    if not paths:
        raise ConfigError(f"{folder} has no pictures (.jpg, .jpeg, .png) itself: put some of good parts into it")
    if len(paths) > MOST_PICTURES:
        raise ConfigError(f"{folder} has {len(paths)} pictures; at most {MOST_PICTURES}: 10 to 50 are enough")
    names, pictures, skipped = [], [], 0
    for path in progress(paths, "reading"):
        try:
            pictures.append(decode_picture(path.read_bytes(), max_pixels))
            names.append(path.name)
        except (OSError, PictureError) as error:
            skipped += 1
            log.warning("%s is left out: %s", path, error)
    return names, pictures, skipped


def _write_sheet(path: Path, pictures: Sequence[Picture], seen: Sequence[GateObservation], memory: GateMemory) -> None:
    try:
        path.write_bytes(encode_jpeg(contact_sheet(pictures, seen, memory)))
    except OSError as error:
        raise ConfigError(f"{path} cannot be written ({error.strerror})") from error
