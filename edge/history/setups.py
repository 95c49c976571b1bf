"""What a camera's results are made with, written down: whoever has it, the frame and the bundle can make them again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt

from lineside import __version__
from lineside.devices.accelerators import cpu, gpus
from lineside.devices.errors import AcceleratorError
from lineside.edge.config import Device
from lineside.edge.device_choice import PACKAGES, installed
from lineside.edge.history.records import Setup
from lineside.runtime.engine.sampling import GREEDY
from lineside.runtime.inspection.gated import GatedInspector
from lineside.runtime.inspection.inspector import Inspector
from lineside.runtime.inspection.observation import Inspection
from lineside.runtime.inspection.preparation import Preparation
from lineside.runtime.inspection.task import Example

AnyInspector = Inspector | GatedInspector


class Setups:
    """Of each camera the latest.

    Args:
        device: what the model runs on; `threads` on the CPU.
    """

    def __init__(self, device: Device, threads: int) -> None:
        self._runs_on = runs_on(device, threads)
        self._known: dict[str, tuple[AnyInspector, Setup]] = {}

    def of(self, camera: str, inspector: AnyInspector) -> Setup:
        known = self._known.get(camera)
        if known is None or known[0] is not inspector:
            known = self._known[camera] = (inspector, describe(inspector, self._runs_on))
        return known[1]


def runs_on(device: Device, threads: int) -> dict[str, Any]:
    """What else decides which tokens come out: device, threads, library, the machine's processor or GPU."""
    packages = PACKAGES.get(device, ())
    library = installed(packages) or (installed(PACKAGES["cuda"]) if device == "cpu" else "")
    return {
        "lineside": __version__,
        "device": device,
        "threads": threads,
        "library": library,
        "processor": _gpu() if device in ("cuda", "tensorrt") else cpu().name,
    }


def describe(inspector: AnyInspector, machine: dict[str, Any]) -> Setup:
    """Keys: `machine` (see `runs_on`), `bundle` (name, sha256), `capacity`, `task`, `prompt` (the system prompt),
    `grammar` (JSON Schema of each property of an answer), `temperature`, `seed`, `thresholds`, `calibration`, `colors`
    (those that it was fitted to) and `gate` (a SHA-256 of its memory).
    """
    task, engine = inspector.task, inspector.engine
    calibration = inspector.calibration
    body = {
        "machine": machine,
        "bundle": {"name": engine.bundle.manifest.name, "sha256": engine.bundle.sha256},
        "capacity": engine.capacity,
        "task": {
            "defect_types": list(task.defect_types),
            "instruction": task.instruction,
            "report": task.report,
            "reference_sha256": "" if task.reference is None else digest(task.reference),
            "any_way_up": task.any_way_up,
            "part": task.part,
            "template": asdict(task.asked),
            "examples_sha256": examples_digest(task.examples),
            "rotate": task.preparation.rotate,
            "region": task.preparation.region,
            "max_side": task.max_side,
        },
        "prompt": task.system_text(),
        "grammar": task.properties(),
        "temperature": GREEDY.temperature,
        "seed": GREEDY.seed,
        "thresholds": [inspector.thresholds.pass_below, inspector.thresholds.fail_above],
        "colors": inspector.colors,
        "calibration": None if calibration is None else [calibration.scale, calibration.offset],
        "gate": _gate(inspector) if isinstance(inspector, GatedInspector) else "",
    }
    text = json.dumps(body, ensure_ascii=False, sort_keys=True)
    return Setup(hashlib.sha256(text.encode()).hexdigest(), text)


def preparation_then(made: Mapping[str, Any]) -> Preparation:
    """How the frames of a setup were made ready, from its `task`."""
    region = made.get("region")
    return Preparation(made.get("rotate", 0), tuple(region) if region else None)


def views_of(inspection: Inspection) -> list[dict[str, Any]]:
    """What the model was asked and answered, each time."""
    return [
        {
            "prompt_sha256": observation.prompt_sha256,
            "tokens": list(observation.tokens),
            "probabilities": {str(name): value for name, value in observation.probabilities.items()},
            "finish_reason": observation.finish_reason,
        }
        for observation in inspection.observations
    ]


def _gate(inspector: GatedInspector) -> str:
    memory = inspector.gate.memory
    return digest(memory.patches, memory.good_scores, np.asarray([memory.pass_below, memory.fail_above]))


def digest(*arrays: npt.NDArray[Any]) -> str:
    """SHA-256 of arrays with their shapes and dtypes."""
    made = hashlib.sha256()
    for array in arrays:
        made.update(f"{array.dtype.str}{array.shape}".encode())
        made.update(np.ascontiguousarray(array).tobytes())
    return made.hexdigest()


def examples_digest(examples: Sequence[Example]) -> str:
    """SHA-256 of pictures, verdicts and lines; empty where there are none."""
    if not examples:
        return ""
    said = json.dumps([[example.verdict, example.text] for example in examples])
    return digest(np.frombuffer(said.encode(), np.uint8), *(example.picture for example in examples))


def _gpu() -> str:
    try:
        return next((gpu.name for gpu in gpus()), "")
    except AcceleratorError:
        return ""
