"""What `lineside calibrate` leaves in the data folder, and the daemon takes up."""

from __future__ import annotations

import hashlib
import os
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from lineside.edge.errors import ConfigError
from lineside.runtime.bundle import Bundle
from lineside.runtime.inspection.calibration import Calibration
from lineside.runtime.inspection.preparation import AS_GIVEN
from lineside.runtime.inspection.task import InspectionTask
from lineside.runtime.inspection.verdict import Thresholds
from lineside.runtime.manifest import Color

Share = Annotated[float, Field(ge=0, le=1)]


class CameraCalibration(BaseModel):
    """Of one camera: valid for one bundle and one task, whose hashes it holds."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    scale: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    offset: Annotated[float, Field(allow_inf_nan=False)]
    pass_below: Share
    fail_above: Share
    missed_defect_costs: float
    look_costs: float
    good_pictures: int
    defective_pictures: int
    expected_calibration_error_before: float
    expected_calibration_error_after: float
    bundle_sha256: str
    task_sha256: str
    fitted_at: datetime
    colors: tuple[Color, ...] | None = None
    """Of the pictures; None where an older Lineside fitted it."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.pass_below > self.fail_above:
            raise ValueError("pass_below is above fail_above")
        return self

    @property
    def calibration(self) -> Calibration:
        return Calibration(self.scale, self.offset)

    @property
    def thresholds(self) -> Thresholds:
        return Thresholds(self.pass_below, self.fail_above)

    def problem(self, bundle: Bundle, task: InspectionTask) -> str:
        """Why it is not valid for this bundle and task; empty where it is. One for a bundle before its upgrade is."""
        if not bundle.answers_to(self.bundle_sha256):
            return "it was fitted for another model"
        if self.task_sha256 != task_digest(task):
            return (
                "it was fitted for another part, other defect types, another instruction, other examples, another "
                "`any_way_up`, `region`, `rotate` or `max_side`"
            )
        return ""


class CalibrationFile(BaseModel):
    """All cameras of a station that were calibrated."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    schema_: Literal["lineside.calibration/1"] = Field(default="lineside.calibration/1", alias="schema")
    cameras: dict[str, CameraCalibration]


def task_digest(task: InspectionTask) -> str:
    """Of all that the model is told about a picture, and shown with it, and which way up it sees it."""
    digest = hashlib.sha256(task.system_text().encode())
    if task.report is None and not task.any_way_up:
        digest.update(b"one way up")
    if most := task.asked.reasoning_characters:
        digest.update(f"reasoning {most}".encode())
    if task.part:
        digest.update(f"part {task.part}".encode())
    if task.preparation != AS_GIVEN:
        digest.update(f"prepared {task.preparation}".encode())
    if task.max_side:
        digest.update(f"max_side {task.max_side}".encode())
    if task.reference is not None:
        digest.update(task.reference.tobytes())
    for example in task.examples:
        said = f"{example.verdict} {example.picture.shape} {example.text}"
        digest.update(f"example {len(said)} {said}".encode() + example.picture.tobytes())
    return digest.hexdigest()


def read_calibrations(path: Path) -> dict[str, CameraCalibration]:
    """By camera; empty where there is no file.

    Raises:
        ConfigError: the file cannot be read, or is not what `lineside calibrate` writes.
    """
    try:
        return CalibrationFile.model_validate_json(path.read_bytes()).cameras
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror})") from error
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise ConfigError(f"{path} is damaged ({place}: {first['msg']}): run `lineside calibrate` again") from None


def write_calibrations(path: Path, cameras: dict[str, CameraCalibration]) -> None:
    """Replace the file in one step.

    Raises:
        ConfigError: it cannot be written.
    """
    body = CalibrationFile(cameras=cameras).model_dump_json(by_alias=True, indent=2) + "\n"
    partial = path.with_name(f"{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(body, encoding="utf-8")
        os.replace(partial, path)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written ({error.strerror})") from error
