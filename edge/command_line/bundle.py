"""Commands about a bundle: check, ask, inspect, upgrade, export, pull, engine, devices.

What is heavy is loaded when its command runs.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, cast

from lineside.edge.command_line.fail import fail
from lineside.edge.errors import EdgeError
from lineside.runtime.errors import EngineError

if TYPE_CHECKING:
    from lineside.edge.config import Device
    from lineside.runtime.chat import Picture
    from lineside.runtime.inspection.observation import Inspection


FORMATS = {
    "precision": "int4", "embedding": None, "head": None, "quantizer": None, "target": "any", "sensitive": None
}  # fmt: skip
"""Options that decide on what an export takes, with what they are where they are left out."""


def check(options: argparse.Namespace) -> int:
    if (station_file := find_station_file(options.path)) is not None:
        from lineside.edge.command_line import station

        return station.check(station_file, bundles=options.bundles, device=options.device)
    path = bundle_path(options.path)
    if not (path / "bundle.json").exists():
        return fail(_neither(path), 2)
    return check_bundle(path, options.device)


def _neither(path: Path) -> str:
    """Why there is nothing to check."""
    from lineside.edge.mistakes import nearest

    right = "name a station file, its folder, or a bundle folder"
    if path.exists():
        return f"{path} has neither station.toml nor bundle.json: {right}"
    meant = nearest(path.name, [each.name for each in path.parent.iterdir()] if path.parent.is_dir() else [])
    return f"{path} does not exist: {right}" + (f"; did you mean {path.with_name(meant)}?" if meant else "")


def check_bundle(path: Path, device: Device) -> int:
    """Every hash, and the self-test on the device. Raises EngineError where something is wrong."""
    from lineside.edge.device_choice import choose
    from lineside.runtime.bundle import open_bundle, verify_hashes
    from lineside.runtime.sessions.selftest import self_test

    bundle = open_bundle(path)
    verify_hashes(bundle)
    print(f"{bundle.path}: {len(bundle.manifest.files)} files, every SHA-256 as listed")
    chosen, report = choose(bundle, device, lambda sessions: self_test(bundle, sessions))
    for name, error in report.errors.items():
        print(f"self-test {name}: relative error {error:.2e}")
    print(f"ran on {chosen.device}: {chosen.reason}")
    print(f"ok: {bundle.manifest.name}, bundle {bundle.sha256[:12]}")
    return 0


def ask(options: argparse.Namespace) -> int:
    from lineside.edge.device_choice import open_engine
    from lineside.edge.inspection.tasks import read_schema
    from lineside.runtime.assistant import stream
    from lineside.runtime.bounds import check_question
    from lineside.runtime.bundle import read_manifest
    from lineside.runtime.chat import Message
    from lineside.runtime.engine.sampling import Sampling
    from lineside.runtime.text.call_stream import TextDelta

    path = bundle_path(options.bundle)
    messages = [Message("user", (*map(_read_picture, options.image), options.text))]
    check_question(read_manifest(path), tools=False, pictures=bool(options.image))
    schema = read_schema(options.schema, "--schema") if options.schema is not None else None
    engine = open_engine(path, device=options.device).engine
    started = time.perf_counter()
    sampling = Sampling(options.temperature)
    pieces = stream(engine, messages, max_tokens=options.max_tokens, sampling=sampling, schema=schema)
    for piece in pieces:
        if isinstance(piece, TextDelta):
            print(piece.text, end="", flush=True)
    print()
    answer, seconds = pieces.answer, time.perf_counter() - started
    tokens = f"{answer.counts.prompt} prompt tokens, {answer.counts.generated} answer tokens"
    print(f"[{answer.finish_reason}; {tokens}; {seconds:.2f} s]", file=sys.stderr)
    return 0


def inspect(options: argparse.Namespace) -> int:
    from lineside.edge.device_choice import open_engine
    from lineside.runtime.inspection.inspector import Inspector
    from lineside.runtime.inspection.task import InspectionTask

    kinds = tuple(kind.strip() for kind in options.defects.split(",") if kind.strip())
    if not kinds:
        return fail("--defects names no defect type", 2)
    reference = _read_picture(options.reference) if options.reference else None
    engine = open_engine(bundle_path(options.bundle), device=options.device).engine
    inspector = Inspector(engine, InspectionTask(kinds, reference=reference, part=options.part))
    for path in options.pictures:
        picture = _read_picture(path)
        inspection = inspector.inspect(picture)
        saved = _save(options.save, path, picture, inspection) if options.save is not None else None
        print("\n".join([_as_json(path, inspection, saved)] if options.json else _lines(path, inspection)), flush=True)
    return 0


def _lines(path: Path, inspection: Inspection) -> list[str]:
    """For people."""
    boxes = [f"  {defect.type} at {', '.join(f'{value:g}' for value in defect.box)}" for defect in inspection.defects]
    doubt = [f"  {inspection.doubt}"] if inspection.doubt else []
    return [f"{path.name}: {inspection.verdict} ({inspection.confidence:.1%})", *doubt, *boxes]


def _as_json(path: Path, inspection: Inspection, saved: Path | None) -> str:
    """One line, with the names of a result on MQTT."""
    timings = {name.removesuffix("_ms"): round(value, 2) for name, value in asdict(inspection.timings).items()}
    found = {
        "picture": str(path),
        "verdict": inspection.verdict,
        "confidence": round(inspection.confidence, 4),
        "fail_probability": round(inspection.fail_probability, 4),
        "defects": [{"type": defect.type, "box": list(defect.box)} for defect in inspection.defects],
        "doubt": inspection.doubt or None,
        "complete": inspection.complete,
        "timing_ms": timings,
    }
    return json.dumps(found | ({"saved": str(saved)} if saved is not None else {}), ensure_ascii=False)


def _save(folder: Path, path: Path, picture: Picture, inspection: Inspection) -> Path:
    """Draw boxes and verdict; a name that is there already gets a number. Raises EdgeError."""
    from lineside.edge.inspection.evidence import draw, encode_jpeg

    data = encode_jpeg(draw(picture, inspection))
    names = itertools.chain([path.stem], (f"{path.stem}-{number}" for number in itertools.count(2)))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in names:
            with suppress(FileExistsError), (folder / f"{name}.jpg").open("xb") as file:
                file.write(data)
                break
    except OSError as error:
        raise EdgeError(f"--save: {error.filename or folder} cannot be written ({error.strerror})") from error
    return folder / f"{name}.jpg"


def upgrade(options: argparse.Namespace) -> int:
    from lineside.runtime.upgrade import upgrade_bundle

    bundle = upgrade_bundle(bundle_path(options.bundle), options.taught)
    print(f"ok: {bundle.path} is of format {bundle.manifest.format_version}, bundle {bundle.sha256[:12]}")
    return 0


def devices(options: argparse.Namespace) -> int:
    from lineside.edge.device_report import lines

    print("\n".join(lines(None if options.bundle is None else bundle_path(options.bundle))))
    return 0


def export(options: argparse.Namespace) -> int:
    command = export_stage("export")
    return int(command(options.checkpoint, options.bundle, options.adapter, _choices(options)))


def pull(options: argparse.Namespace) -> int:
    command = export_stage("pull")
    return int(command(options.name, options.bundle, _choices(options), keep=options.keep))


def _choices(options: argparse.Namespace) -> dict[str, object]:
    """What `export.bundle.choices` asks for."""
    others = {name: getattr(options, name) for name in ("max_kl", "verbatim_arguments", "any_way_up", "taught")}
    return {"kv_dtype": options.kv_cache, **formats(options), **others}


def formats(options: argparse.Namespace) -> dict[str, object]:
    """What `plan` and `export` have alike, as far as it is said."""
    said = {name: getattr(options, name) for name in FORMATS}
    return {name: value for name, value in said.items() if value != FORMATS[name]}


def engine(options: argparse.Namespace) -> int:
    from lineside.devices.accelerators import gpus
    from lineside.devices.errors import AcceleratorError

    try:
        present, name = next(((gpu.target, gpu.name) for gpu in gpus()), ("", ""))
    except AcceleratorError:
        present = name = ""
    target = options.target or present
    if not target:
        return fail("this machine has no NVIDIA GPU: name one with --target, such as sm89", 2)
    return int(export_stage("engine")(bundle_path(options.bundle), target, options.cache, present, name))


def export_stage(name: str) -> Callable[..., int]:
    """The export stage is not a part of the daemon, which must run without it: it is found by its entry points.

    Raises EdgeError where it is not installed.
    """
    from importlib.metadata import entry_points

    try:
        (command,) = (entry.load() for entry in entry_points(group="lineside.commands", name=name))
    except (ImportError, ValueError) as error:
        raise EdgeError(f"exporting needs the export extra ({error}): pip install 'lineside[export]'") from error
    return cast("Callable[..., int]", command)


def bundle_path(path: Path | None) -> Path:
    """The default model's where it is none, or `default`."""
    from lineside.runtime.defaults import DEFAULT_BUNDLE

    return DEFAULT_BUNDLE if path is None or str(path) == "default" else path


def find_station_file(path: Path | None) -> Path | None:
    """Where `path` is a station file or the folder of one: that file."""
    if path is not None and (path / "station.toml").is_file():
        return path / "station.toml"
    return path if path is not None and (path.suffix == ".toml" or path.is_file()) else None


def _read_picture(path: Path) -> Picture:
    from lineside.runtime.errors import PictureUndecodable
    from lineside.runtime.picture import decode_picture

    try:
        return decode_picture(path.read_bytes())
    except OSError as error:
        raise PictureUndecodable(f"{path} cannot be read ({error.strerror})") from error
    except EngineError as error:
        raise type(error)(f"{path}: {error}") from error
