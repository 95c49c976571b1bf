"""A result made again: the frame that was kept, with the model, device, threads, prompt and grammar of then."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lineside.edge.config import MIB, Config
from lineside.edge.current_model import BUNDLES
from lineside.edge.device_choice import open_engine
from lineside.edge.errors import EdgeError
from lineside.edge.history.pictures import captured
from lineside.edge.history.records import Record
from lineside.edge.history.setups import (
    AnyInspector,
    describe,
    digest,
    examples_digest,
    preparation_then,
    runs_on,
    views_of,
)
from lineside.edge.history.tables import find, reading, setup_of
from lineside.edge.inspection.gates import Gates
from lineside.edge.inspection.tasks import inspection_task
from lineside.runtime.bundle import open_bundle
from lineside.runtime.chat import Picture
from lineside.runtime.defaults import DEFAULT_BUNDLE
from lineside.runtime.engine.engine import Engine, Limits
from lineside.runtime.inspection.calibration import Calibration
from lineside.runtime.inspection.gated import GatedInspector
from lineside.runtime.inspection.inspector import Inspector
from lineside.runtime.inspection.task import Example, InspectionTask
from lineside.runtime.inspection.verdict import Thresholds
from lineside.runtime.inspection_template import InspectionTemplate
from lineside.runtime.picture import decode_picture


@dataclass(frozen=True)
class Replayed:
    """What came out, beside what came out then; `changed` is what is not as it was, `differs` what is not the same."""

    verdict: str
    then: str
    tokens: int
    changed: Sequence[str]
    differs: Sequence[str]

    @property
    def same(self) -> bool:
        return not self.differs


def replay(config: Config, result_id: str, bundle: Path | None = None) -> Replayed:
    """Make a result again, with caches that hold nothing.

    Args:
        bundle: where the model of then is, if it is no longer the station's.

    Raises:
        EdgeError, EngineError: something that it was made with is gone or has changed; names it.
    """
    folder = config.history_path
    with reading(folder) as db:
        record = find(db, result_id)
        setup = setup_of(db, record.setup) if record is not None else None
    if record is None or setup is None:
        kept = f"verdicts go after `history.verdicts_days` ({config.history.verdicts_days:g})"
        raise EdgeError(f"there is no result {result_id} in {folder}: {kept}")
    _check_single(record)
    made = json.loads(setup.body)
    config = _as_then(config, record.camera, made["task"])
    picture = preparation_then(made["task"]).upright(_picture(config, folder, record))
    engine = _engine(config, made, bundle)
    engine.chunking.hurry_for_nobody()
    inspector = _inspector(config, record.camera, made, engine)
    machine = runs_on(made["machine"]["device"], made["machine"]["threads"])
    again = inspector.inspect(picture, max_side=record.body.get("max_side", 0))
    views = views_of(again)
    return Replayed(
        again.verdict,
        record.verdict,
        sum(len(view["tokens"]) for view in views),
        _changed(made, json.loads(describe(inspector, machine).body)),
        _differs(record, again.verdict, json.loads(record.views), views),
    )


def _as_then(config: Config, camera: str, task: dict[str, Any]) -> Config:
    """With the camera's pictures made ready as they were: the reference and the examples too."""
    if camera not in config.cameras:
        return config
    then = preparation_then(task)
    own = replace(config.cameras[camera], rotate=then.rotate, region=then.region)
    return replace(config, cameras=config.cameras | {camera: own})


def _check_single(record: Record) -> None:
    """Raises EdgeError for a part's result, which its views are behind."""
    if (views := record.body.get("views")) is not None:
        single = ", ".join(f"{view['id']} ({view['camera']})" for view in views)
        raise EdgeError(f"{record.id} is the result of several views: replay them one by one, {single or 'none'}")


def _picture(config: Config, folder: Path, record: Record) -> Picture:
    if not record.frame:
        raise EdgeError(f"the frame of {record.id} was not kept: `history.frames` leaves out {record.verdict!r}")
    if record.expired_at is not None:
        raise EdgeError(
            f"the frame of {record.id} went on {captured(record.expired_at):%Y-%m-%d %H:%M} UTC, to make room or for "
            "its age: see `history.max_bytes`, `min_free_bytes` and `pictures_days`"
        )
    try:
        data = (folder / record.frame).read_bytes()
    except OSError as error:
        raise EdgeError(f"the frame {folder / record.frame} cannot be read ({error.strerror})") from error
    came = record.frame_kind == "came"
    if came and not _is_frame(record, data):
        raise EdgeError(f"the frame {folder / record.frame} is not the one that was inspected: its SHA-256 has changed")
    picture = decode_picture(data, config.inspect.max_pixels)
    if not came and not _is_frame(record, picture.tobytes()):
        raise EdgeError(f"the frame {folder / record.frame} is not the one that was inspected: its SHA-256 has changed")
    return picture


def _is_frame(record: Record, data: bytes) -> bool:
    return bool(hashlib.sha256(data).hexdigest() == record.body["frame_sha256"])


def _engine(config: Config, made: dict[str, Any], bundle: Path | None) -> Engine:
    wanted = made["bundle"]["sha256"]
    tried = [bundle] if bundle is not None else _bundles(config, wanted)
    path = next((path for path in tried if open_bundle(path).sha256 == wanted), None)
    if path is None:
        here = ", ".join(f"{path} is {open_bundle(path).sha256[:12]}" for path in dict.fromkeys(tried))
        raise EdgeError(
            f"the result was made with the model {made['bundle']['name']}, bundle {wanted[:12]}, and {here}: name that "
            "one's folder with --bundle"
        )
    machine, limits = made["machine"], Limits(made["capacity"], config.model.kv_cache_mb * MIB)
    return open_engine(path, device=machine["device"], threads=machine["threads"], limits=limits).engine


def _bundles(config: Config, wanted: str) -> list[Path]:
    """Those of the station, an installed one that has been replaced among them."""
    installed = config.models_path / BUNDLES / wanted
    return [*([installed] if installed.is_dir() else []), config.bundle_path, config.named_bundle_path, DEFAULT_BUNDLE]


def _inspector(config: Config, camera: str, made: dict[str, Any], engine: Engine) -> AnyInspector:
    task = made["task"]
    reference = None
    if task["reference_sha256"]:
        reference = inspection_task(config, camera).reference if camera in config.cameras else None
        if reference is None or digest(reference) != task["reference_sha256"]:
            raise EdgeError(
                f"the reference of {camera} is another than then: put the old one back, `{camera}.reference`"
            )
    examples = _examples(config, camera, task["examples_sha256"])
    then = InspectionTask(
        tuple(task["defect_types"]),
        task["instruction"],
        task["report"],
        reference=reference,
        any_way_up=task["any_way_up"],
        part=task["part"],
        template=InspectionTemplate(**task["template"]),
        examples=examples,
        preparation=preparation_then(task),
        max_side=task.get("max_side", 0),
    )
    colors = made["colors"]
    calibration = Calibration(*made["calibration"]) if made["calibration"] is not None else None
    inspector = Inspector(
        engine, then, Thresholds(*made["thresholds"]), calibration, colors=tuple(colors) if colors else None
    )
    if not made["gate"]:
        return inspector
    gate = Gates(config.model.threads).open(config.gate_path(camera), then.preparation)
    gated = GatedInspector(inspector, gate) if gate is not None else None
    if gated is None or json.loads(describe(gated, {}).body)["gate"] != made["gate"]:
        raise EdgeError(
            f"the gate of {camera} is another than then: {config.gate_path(camera)} was learnt anew or is gone"
        )
    return gated


def _examples(config: Config, camera: str, wanted: str) -> tuple[Example, ...]:
    if not wanted:
        return ()
    examples = inspection_task(config, camera).examples if camera in config.cameras else ()
    if examples_digest(examples) != wanted:
        raise EdgeError(f"the examples of {camera} are others than then: put the old ones back, `inspect.examples`")
    return examples


def _changed(then: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """What is different about the machine and the program; the rest was made to be as it was."""
    sentences = []
    for key, value in then["machine"].items():
        if now["machine"].get(key) != value:
            sentences.append(f"{key} was {value}, and is {now['machine'].get(key)}")
    for key in ("prompt", "grammar"):
        if then[key] != now[key]:
            sentences.append(f"this version of Lineside has another {key}")
    if then["capacity"] != now["capacity"]:
        sentences.append(f"capacity was {then['capacity']}, and is {now['capacity']}")
    return sentences


def _differs(record: Record, verdict: str, then: list[dict[str, Any]], now: list[dict[str, Any]]) -> list[str]:
    found = []
    if verdict != record.verdict:
        found.append(f"the verdict was {record.verdict}, and is {verdict}")
    if len(then) != len(now):
        found.append(f"the model was asked {len(then)} times, and now {len(now)} times")
    for number, (old, new) in enumerate(zip(then, now, strict=False), 1):
        if old["finish_reason"] in ("deadline", "cancelled"):
            found.append(f"view {number} was ended by its {old['finish_reason']}: nothing makes it end there again")
        elif old["prompt_sha256"] != new["prompt_sha256"]:
            found.append(f"the prompt of view {number} has other tokens")
        elif old["tokens"] != new["tokens"]:
            found.append(f"the answer to view {number} has other tokens")
    return found
