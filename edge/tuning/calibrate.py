"""`lineside calibrate`: labelled pictures of a station in, calibrated probabilities and thresholds out."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from lineside.edge.config import Config
from lineside.edge.device_choice import open_engine
from lineside.edge.errors import ConfigError
from lineside.edge.inspection.calibration_file import (
    CameraCalibration,
    read_calibrations,
    task_digest,
    write_calibrations,
)
from lineside.edge.inspection.example_folder import check_examples, examples_key
from lineside.edge.inspection.preparing import upright_picture
from lineside.edge.inspection.tasks import inspection_task
from lineside.edge.inspection.usual_file import write_usual
from lineside.edge.progress import progress
from lineside.edge.tuning.labelled import Labelled, find_labelled
from lineside.edge.wire.messages import now
from lineside.runtime.engine.engine import Engine, Limits
from lineside.runtime.errors import PictureError
from lineside.runtime.inspection.bounds import color_of
from lineside.runtime.inspection.calibration import (
    MIN_PER_CLASS,
    Calibration,
    Costs,
    Decisions,
    Floats,
    Labels,
    brier_score,
    cross_validated,
    decide,
    expected_calibration_error,
    fit,
    log_loss,
)
from lineside.runtime.inspection.inspector import Inspector
from lineside.runtime.inspection.picture_figures import PictureFigures, figures_of
from lineside.runtime.inspection.task import InspectionTask
from lineside.runtime.inspection.threshold_choice import LOOK_AT_EACH, Zones, choose, forecast, held_out
from lineside.runtime.inspection.usual import Usual, usual_of
from lineside.runtime.inspection.verdict import abstains, fail_probability
from lineside.runtime.manifest import Color

log = logging.getLogger("lineside.calibrate")
FEW_PER_CLASS = 30


@dataclass(frozen=True)
class Side:
    """Figures on the labelled pictures, with or without the calibration."""

    probabilities: Floats
    thresholds: tuple[float, float]
    expected_calibration_error: float
    brier_score: float
    log_loss: float
    decisions: Decisions


@dataclass(frozen=True)
class _Scored:
    """Of each picture that can be read: the model's own probability of a defect, whether it abstains, and the label.

    Attributes:
        colors: whether there were pictures in colour or grey ones.
        good: what is measured of the good ones.
    """

    probabilities: Floats
    abstained: Labels
    defective: Labels
    colors: tuple[Color, ...]
    good: list[PictureFigures]


@dataclass(frozen=True)
class Report:
    """What came out. `after` is cross-validated: each picture is judged by a fit that has not seen it.

    Attributes:
        zones: on the model's own probability. None at all where looking at each picture costs less.
        more: how many further pictures bring the expected cost down to what; None where ten times as many do not.
    """

    cameras: list[str]
    defective: Labels
    skipped: int
    calibration: Calibration
    costs: Costs
    before: Side
    after: Side
    zones: Zones
    more: tuple[int, float] | None
    usual: Usual
    path: Path

    @property
    def few(self) -> bool:
        return min(int(self.defective.sum()), int((~self.defective).sum())) < FEW_PER_CLASS


def calibrate(config: Config, folder: Path, camera: str, costs: Costs) -> Report:
    """Fit, judge, and write the file into the data folder.

    Args:
        camera: empty for all cameras, which must then have one task.

    Raises:
        ConfigError: no or too few labelled pictures; no such camera; cameras with several tasks.
        NotSeparable: the model does not see the defect.
        EngineError: see `runtime.errors`.
    """
    cameras, task = _task(config, camera)
    pictures = find_labelled(folder)
    _check_counts(folder, np.asarray([picture.defective for picture in pictures]))  # before hours of work
    limits = Limits(config.model.capacity, config.model.kv_cache_mb * 1024 * 1024)
    model = config.model
    engine = open_engine(config.bundle_path, device=model.device, threads=model.threads, limits=limits).engine
    check_examples(examples_key(config, cameras[0]), task, engine.tokenizer, engine.bundle.manifest, engine.capacity)
    scored = _score(engine, task, pictures, config.inspect.max_pixels)
    probabilities, abstained, defective = scored.probabilities, scored.abstained, scored.defective
    good, bad = _check_counts(folder, defective)
    calibration = fit(probabilities, defective)
    own = (config.inspect.pass_below, config.inspect.fail_above)
    before = _side(probabilities, defective, own, costs, abstained)
    zones, decisions = _zones(probabilities, defective, abstained, costs)
    after = replace(
        _side(cross_validated(probabilities, defective), defective, _calibrated(zones, calibration), costs, abstained),
        decisions=decisions,
    )
    more = forecast(probabilities, defective, abstained, costs)[1]
    entry = CameraCalibration(
        scale=calibration.scale,
        offset=calibration.offset,
        pass_below=after.thresholds[0],
        fail_above=after.thresholds[1],
        missed_defect_costs=costs.missed_defect,
        look_costs=costs.look,
        good_pictures=good,
        defective_pictures=bad,
        expected_calibration_error_before=round(before.expected_calibration_error, 4),
        expected_calibration_error_after=round(after.expected_calibration_error, 4),
        bundle_sha256=engine.bundle.sha256,
        task_sha256=task_digest(task),
        fitted_at=now(),
        colors=scored.colors,
    )
    path = config.calibration_path
    write_calibrations(path, _present(path) | dict.fromkeys(cameras, entry))
    usual = usual_of(scored.good, decisions.unsure / decisions.pictures)
    for name in cameras:
        write_usual(config.usual_path(name), usual, task.preparation)
    skipped = len(pictures) - len(defective)
    return Report(cameras, defective, skipped, calibration, costs, before, after, zones, more, usual, path)


def _zones(probabilities: Floats, defective: Labels, abstained: Labels, costs: Costs) -> tuple[Zones, Decisions]:
    """Those that were chosen, and what such a choice decides on pictures that it has not seen; none at all where that
    costs more than looking at each picture.
    """
    decisions = held_out(probabilities, defective, abstained, costs)
    if decisions.cost < costs.look:
        return choose(probabilities, defective, abstained, costs), decisions
    nothing = Decisions.of(0, 0, 0, 0, len(defective), costs)
    return Zones(*LOOK_AT_EACH, costs.look), nothing


def _calibrated(zones: Zones, calibration: Calibration) -> tuple[float, float]:
    """The thresholds on the calibrated probability."""
    low = calibration(zones.pass_below) if zones.passes else 0.0
    return low, calibration(zones.fail_above) if zones.fails else 1.0


def _check_counts(folder: Path, defective: Labels) -> tuple[int, int]:
    """Good and defective pictures. Raises ConfigError where there are too few of them to fit anything."""
    good, bad = int((~defective).sum()), int(defective.sum())
    for name, count in (("fail", bad), ("pass", good)):
        if count < MIN_PER_CLASS:
            raise ConfigError(
                f"{folder} has {count} readable pictures labelled {name}; at least {MIN_PER_CLASS} are needed"
            )
    return good, bad


def _present(path: Path) -> dict[str, CameraCalibration]:
    """What other cameras have; a damaged file is replaced."""
    try:
        return read_calibrations(path)
    except ConfigError as error:
        log.warning("%s; it is written anew", error)
        return {}


def _task(config: Config, camera: str) -> tuple[list[str], InspectionTask]:
    if not config.cameras:
        raise ConfigError("the station has no cameras: there is nothing to calibrate")
    if camera and camera not in config.cameras:
        raise ConfigError(f"the station has no camera {camera!r}; it has {', '.join(config.cameras)}")
    cameras = [camera] if camera else list(config.cameras)
    tasks = {name: inspection_task(config, name) for name in cameras}
    if len({task_digest(task) for task in tasks.values()}) > 1:
        raise ConfigError(f"the cameras look for different things: choose one with --camera ({', '.join(cameras)})")
    return cameras, tasks[cameras[0]]


def _score(engine: Engine, task: InspectionTask, pictures: Sequence[Labelled], max_pixels: int) -> _Scored:
    colors = set[Color]()
    inspector = Inspector(engine, task)
    probabilities, abstained, defective, good = [], [], [], []
    for picture in progress(pictures, "pictures"):
        try:
            pixels = upright_picture(picture.path.read_bytes(), task.preparation, max_pixels)
            part = task.preparation.part(pixels)
        except (OSError, PictureError) as error:
            log.warning("%s is left out: %s", picture.path, error)
            continue
        colors.add(color_of(part))
        if not picture.defective:
            good.append(figures_of(part))
        verdicts = inspector.probabilities(pixels)
        probabilities.append(fail_probability(verdicts))
        abstained.append(abstains(verdicts))
        defective.append(picture.defective)
    return _Scored(
        np.asarray(probabilities),
        np.asarray(abstained, bool),
        np.asarray(defective, bool),
        tuple(sorted(colors)),
        good,
    )


def _side(
    probabilities: Floats, defective: Labels, thresholds: tuple[float, float], costs: Costs, abstained: Labels
) -> Side:
    return Side(
        probabilities,
        thresholds,
        expected_calibration_error(probabilities, defective),
        brier_score(probabilities, defective),
        log_loss(probabilities, defective),
        decide(probabilities, defective, thresholds, costs, abstained),
    )
