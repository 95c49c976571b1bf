"""What was learnt and calibrated with a bundle is used after its upgrade, and not with any other."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from lineside.edge.camera_config import CameraConfig
from lineside.edge.config import Config
from lineside.edge.inspect_config import InspectConfig
from lineside.edge.inspection.calibration_file import CameraCalibration, task_digest, write_calibrations
from lineside.edge.inspection.gate_file import write_gate
from lineside.edge.inspection.inspectors import open_inspectors
from lineside.edge.inspection.tasks import inspection_task
from lineside.edge.wire.messages import now
from lineside.runtime.engine.engine import Engine
from lineside.runtime.inspection.gated import GatedInspector
from lineside.runtime.inspection.inspector import Inspector
from tests.support.gates import small_memory

DEFAULT_IN_FORMAT_2 = "5810ce100b0c33d1c46b833998c3cff5fd2724ebb1fed9cde8bf0e3a9b8531f6"
"""SHA-256 of the manifest with which the default model was shipped before."""


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return Config(inspect=InspectConfig(part="ball screw"), cameras={"cam0": CameraConfig("mqtt")}, folder=tmp_path)


def calibrated(config: Config, sha256: str) -> None:
    entry = CameraCalibration(
        scale=2.0,
        offset=0.5,
        pass_below=0.2,
        fail_above=0.7,
        missed_defect_costs=10,
        look_costs=1,
        good_pictures=30,
        defective_pictures=30,
        expected_calibration_error_before=0.2,
        expected_calibration_error_after=0.1,
        bundle_sha256=sha256,
        task_sha256=task_digest(inspection_task(config, "cam0")),
        fitted_at=now(),
    )
    write_calibrations(config.calibration_path, {"cam0": entry})


def test_a_calibration_made_before_the_upgrade_is_used(config: Config, default_engine: Engine) -> None:
    calibrated(config, DEFAULT_IN_FORMAT_2)
    inspectors, degraded = open_inspectors(config, default_engine)
    assert degraded == []
    inspector = inspectors["cam0"]
    assert isinstance(inspector, Inspector)
    assert inspector.calibration is not None
    assert (inspector.calibration.scale, inspector.calibration.offset) == (2.0, 0.5)


def test_a_gate_is_used_whatever_the_model_is(config: Config, default_engine: Engine) -> None:
    write_gate(config.gate_path("cam0"), small_memory())
    inspectors, degraded = open_inspectors(config, default_engine)
    assert degraded == []
    assert isinstance(inspectors["cam0"], GatedInspector)


def test_a_camera_of_another_part_is_degraded_until_something_vouches(config: Config, default_engine: Engine) -> None:
    config = replace(config, inspect=InspectConfig(part="washer"))
    _, degraded = open_inspectors(config, default_engine)
    assert ["not washer" in sentence and "lineside learn" in sentence for sentence in degraded] == [True]
    calibrated(config, DEFAULT_IN_FORMAT_2)
    assert open_inspectors(config, default_engine)[1] == []
    config.calibration_path.unlink()
    write_gate(config.gate_path("cam0"), small_memory())
    assert open_inspectors(config, default_engine)[1] == []


def test_a_report_that_was_never_taught_is_said(config: Config, default_engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "own.json").write_text('{"type": "boolean"}')
    config = replace(config, cameras={"cam0": CameraConfig("mqtt", schema="own.json")})
    assert ["made up" in sentence for sentence in open_inspectors(config, default_engine)[1]] == [True]


def test_those_of_another_model_are_not(config: Config, default_engine: Engine) -> None:
    calibrated(config, "0" * 64)
    write_gate(config.gate_path("cam0"), small_memory(features_sha256="0" * 64))
    inspectors, degraded = open_inspectors(config, default_engine)
    assert len(degraded) == 2
    assert isinstance(inspectors["cam0"], Inspector)
    assert inspectors["cam0"].calibration is None
