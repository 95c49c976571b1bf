"""One inspector for each camera, with the calibration that was fitted for it."""

from __future__ import annotations

import logging

from lineside.edge.config import Config
from lineside.edge.errors import ConfigError
from lineside.edge.inspection.calibration_file import CameraCalibration, read_calibrations
from lineside.edge.inspection.example_folder import check_examples, examples_key
from lineside.edge.inspection.gates import Gates
from lineside.edge.inspection.tasks import inspection_task
from lineside.runtime.engine.engine import Engine
from lineside.runtime.errors import GrammarError, KVBudgetExceeded
from lineside.runtime.inspection.gated import GatedInspector
from lineside.runtime.inspection.inspector import LEAST_ANSWER_TOKENS, Inspector
from lineside.runtime.inspection.verdict import Thresholds

log = logging.getLogger("lineside.inspectors")


def open_inspectors(config: Config, engine: Engine) -> tuple[dict[str, Inspector | GatedInspector], list[str]]:
    """By camera; and what is not as the user would expect, for `info`: a calibration or a gate that cannot be used.

    Raises:
        ConfigError: a camera's schema cannot be enforced, with the path to the keyword; or its examples need more
            room than there is.
    """
    degraded = []
    try:
        calibrations = read_calibrations(config.calibration_path)
    except ConfigError as error:
        calibrations = {}
        degraded.append(f"not calibrated: {error}")
    inspectors: dict[str, Inspector | GatedInspector] = {}
    gates = Gates(config.model.threads)
    taught = engine.bundle.manifest.taught
    for camera in config.cameras:
        inspector, problem = _open(config, engine, camera, calibrations.get(camera))
        if problem:
            degraded.append(problem)
        inspectors[camera] = inspector
        try:
            gate = gates.open(config.gate_path(camera), inspector.task.preparation)
        except ConfigError as error:
            gate = None
            degraded.append(f"{camera} has no gate: {error}")
        if gate is not None:
            inspectors[camera] = GatedInspector(inspector, gate)
        elif inspector.not_taught and config.cameras[camera].inspected:
            degraded.append(
                f"all that {camera} sees is `unsure`: {inspector.not_taught}; set `part` and what is looked for to "
                "what it was taught, or run `lineside learn` or `lineside calibrate` with pictures of yours"
            )
        if inspector.task.report is not None and taught.report is False:
            degraded.append(f"the reports of {camera} are made up: the model was not taught to report")
    for problem in degraded:
        log.warning("%s", problem)
    return inspectors, degraded


def _open(config: Config, engine: Engine, camera: str, fitted: CameraCalibration | None) -> tuple[Inspector, str]:
    task = inspection_task(config, camera)
    key = examples_key(config, camera)
    check_examples(key, task, engine.tokenizer, engine.bundle.manifest, engine.capacity)
    problem = fitted.problem(engine.bundle, task) if fitted is not None else ""
    thresholds, calibration = Thresholds(config.inspect.pass_below, config.inspect.fail_above), None
    if fitted is not None and not problem:
        thresholds, calibration = fitted.thresholds, fitted.calibration
    try:
        inspector = Inspector(
            engine, task, thresholds, calibration, colors=fitted.colors if fitted is not None else None
        )
    except GrammarError as error:
        raise ConfigError(str(error)) from error
    except KVBudgetExceeded as error:
        raise ConfigError(f"`{key}`: {error}") from error
    used = len(engine.tokenizer.encode_text(task.system_text())) + LEAST_ANSWER_TOKENS
    if used > engine.capacity:
        raise ConfigError(
            f"what {camera} is inspected for takes {used} tokens with the answer, and `model.capacity` is "
            f"{engine.capacity}: shorten `cameras.{camera}.schema` or `instruction`"
        )
    if problem:
        problem = f"the calibration of {camera} is not used, {problem}: run `lineside calibrate` again"
    return inspector, problem
