"""The command line, `lineside COMMAND`; `lineside --help` lists the commands.

Exit codes: 0 done; 1 what was asked for failed (a damaged bundle, a checkpoint that cannot be used, no broker); 2 the
command line or the station file is wrong.


Imports stand inside the functions, so that `lineside --help` does not load an engine.
"""

from __future__ import annotations

import argparse
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

from lineside import __version__
from lineside.edge.errors import ConfigError, EdgeError
from lineside.runtime.errors import EngineError

if TYPE_CHECKING:
    from lineside.runtime.chat import Picture


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of `lineside`."""
    options = _parser().parse_args(arguments)
    from lineside.edge import logs

    quiet = ("ask", "inspect", "check", "learn", "calibrate", "demo")
    logs.set_up("WARNING" if options.command in quiet else "INFO")
    try:
        return int(options.run(options))
    except ConfigError as error:
        return _fail(str(error), 2)
    except (EdgeError, EngineError) as error:
        return _fail(str(error), 1)
    except KeyboardInterrupt:
        return _fail("interrupted", 130)


def _fail(message: str, code: int) -> int:
    print(f"lineside: {message}", file=sys.stderr)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="lineside", description="Vision-language inspection beside the camera.")
    parser.add_argument("--version", action="version", version=f"lineside {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)

    run = commands.add_parser("run", help="run the daemon of a station")
    run.add_argument("-c", "--config", type=Path, required=True, metavar="station.toml")
    run.set_defaults(run=_run)

    check = commands.add_parser("check", help="verify a bundle's hashes and run its self-test")
    check.add_argument("bundle", type=Path, nargs="?", help="bundle folder; the default model where left out")
    _add_device(check)
    check.set_defaults(run=_check)

    plan = commands.add_parser("plan", help="say how much memory a bundle needs, before it is loaded")
    plan.add_argument("bundle", type=Path, help="bundle folder, or `default`")
    plan.add_argument("--tokens", type=int, default=0, help="of KV cache; the whole context where left out")
    plan.add_argument("--memory-gb", type=float, default=0.0, help="of the device; this machine's where left out")
    plan.set_defaults(run=_plan)

    ask = commands.add_parser("ask", help="answer once, without MQTT")
    ask.add_argument("bundle", type=Path, help="bundle folder, or `default`")
    ask.add_argument("text", help="the question")
    ask.add_argument("--image", type=Path, action="append", default=[], help="a picture; may be repeated")
    ask.add_argument("--temperature", type=float, default=0.15)
    ask.add_argument("--max-tokens", type=int, default=256)
    _add_device(ask)
    ask.set_defaults(run=_ask)

    inspect = commands.add_parser("inspect", help="inspect pictures, without MQTT")
    inspect.add_argument("bundle", type=Path, help="bundle folder, or `default`")
    inspect.add_argument("pictures", type=Path, nargs="+", metavar="picture")
    inspect.add_argument("--defects", default="pitting", help="defect types, separated by commas")
    inspect.add_argument("--reference", type=Path, help="a picture of the same view of a part without defects")
    _add_device(inspect)
    inspect.set_defaults(run=_inspect)

    learn = commands.add_parser("learn", help="learn from a few good pictures what a part looks like")
    learn.add_argument("station", type=Path, metavar="station.toml")
    learn.add_argument("folder", type=Path, help="with pictures of good parts, 10 or more")
    learn.add_argument("--camera", default="", help="all cameras where left out")
    learn.set_defaults(run=_learn)

    calibrate = commands.add_parser("calibrate", help="put a station's probabilities right, by labelled pictures")
    calibrate.add_argument("station", type=Path, metavar="station.toml")
    calibrate.add_argument("folder", type=Path, help="with pass/ and fail/, or a labels.jsonl")
    calibrate.add_argument("--camera", default="", help="all cameras where left out")
    calibrate.add_argument("--missed-defect-costs", type=float, default=10.0, metavar="N", help="false alarms")
    calibrate.add_argument("--look-costs", type=float, default=0.25, metavar="U", help="false alarms, for an `unsure`")
    calibrate.set_defaults(run=_calibrate)

    export = commands.add_parser("export", help="turn a checkpoint (a folder, or a GGUF file) into a bundle")
    export.add_argument("checkpoint", type=Path)
    export.add_argument("bundle", type=Path)
    export.add_argument("--precision", choices=("int4", "float32"), default="int4")
    export.add_argument(
        "--kv-cache", choices=("float32", "float16", "int8"), default="float32", help="number format of keys and values"
    )
    export.add_argument(
        "--verbatim-arguments",
        action="store_true",
        help="free texts in the arguments of calls are words of the conversation: for small models, which misspell",
    )
    export.add_argument(
        "--any-way-up",
        action="store_true",
        help="inspect pictures upside down, too: for a model that was taught parts whichever way up they are",
    )
    export.set_defaults(run=_export)

    engine = commands.add_parser("engine", help="build TensorRT engines of a bundle")
    engine.add_argument("bundle", type=Path)
    engine.add_argument("--target", default="", help="such as sm89 (`lineside devices`); this GPU where left out")
    engine.add_argument("--cache", type=int, nargs="+", default=[], metavar="TOKENS", help="lengths of the KV cache")
    engine.set_defaults(run=_engine)

    devices = commands.add_parser("devices", help="list what this machine can run on, and what it lacks")
    devices.add_argument("bundle", type=Path, nargs="?", help="whether this one fits, too")
    devices.set_defaults(run=_devices)

    demo = commands.add_parser("demo", help="play a station and show what comes over the broker")
    demo.add_argument("-c", "--config", type=Path, default=Path("deploy/stations/ballscrew/station.toml"))
    demo.add_argument("--broker", default="", metavar="mqtt://...", help="embedded where left out")
    demo.add_argument("--output", type=Path, default=Path("demo-output"))
    demo.set_defaults(run=_demo)
    return parser


def _add_device(parser: argparse.ArgumentParser) -> None:
    devices = ("auto", "tensorrt", "cuda", "cpu")
    parser.add_argument("--device", choices=devices, default="auto", help="what to run on (`lineside devices`)")


def _run(options: argparse.Namespace) -> int:
    from lineside.edge.config import load_config
    from lineside.edge.daemon import Daemon

    daemon = Daemon(load_config(options.config))
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: daemon.stop())
    threading.excepthook = daemon.fail
    with daemon:
        daemon.wait()
    return int(daemon.failed)


def _bundle(path: Path | None) -> Path:
    from lineside.runtime.bundle import DEFAULT_BUNDLE

    return DEFAULT_BUNDLE if path is None or str(path) == "default" else path


def _check(options: argparse.Namespace) -> int:
    from lineside.edge.device_choice import choose
    from lineside.runtime.bundle import open_bundle, verify_hashes
    from lineside.runtime.sessions.selftest import self_test

    bundle = open_bundle(_bundle(options.bundle))
    verify_hashes(bundle)
    print(f"{bundle.path}: {len(bundle.manifest.files)} files, every SHA-256 as listed")
    chosen, report = choose(bundle, options.device, lambda sessions: self_test(bundle, sessions))
    for name, error in report.errors.items():
        print(f"self-test {name}: relative error {error:.2e}")
    print(f"ran on {chosen.device}: {chosen.reason}")
    print(f"ok: {bundle.manifest.name}, bundle {bundle.sha256[:12]}")
    return 0


def _plan(options: argparse.Namespace) -> int:
    from lineside.runtime.bundle import read_manifest
    from lineside.runtime.engine.memory_plan import machine_bytes, plan_memory

    manifest = read_manifest(_bundle(options.bundle))
    tokens = options.tokens or manifest.context_length
    if not 0 < tokens <= manifest.context_length:
        return _fail(f"--tokens {tokens}: the context has 1 to {manifest.context_length} tokens", 2)
    plan = plan_memory(manifest, tokens)
    for part, size in plan.parts.items():
        print(f"{part:<44}{size / 1e6:>12.1f} MB")
    print(f"{'total':<44}{plan.total_bytes / 1e6:>12.1f} MB")
    device = int(options.memory_gb * 1e9) or machine_bytes()
    fits = plan.largest_context(device)
    print(f"{'device':<44}{device / 1e6:>12.1f} MB")
    if plan.total_bytes <= device:
        print(f"fits: {(device - plan.total_bytes) / 1e6:.1f} MB are left")
        return 0
    advice = f"at most {fits} tokens fit" if fits else "the weights alone do not fit"
    return _fail(f"does not fit: {(plan.total_bytes - device) / 1e6:.1f} MB are missing; {advice}", 1)


def _read_picture(path: Path) -> Picture:
    from lineside.runtime.errors import PictureUndecodable
    from lineside.runtime.picture import decode_picture

    try:
        return decode_picture(path.read_bytes())
    except OSError as error:
        raise PictureUndecodable(f"{path} cannot be read ({error.strerror})") from error
    except EngineError as error:
        raise type(error)(f"{path}: {error}") from error


def _ask(options: argparse.Namespace) -> int:
    from lineside.edge.device_choice import open_engine
    from lineside.runtime.assistant import stream
    from lineside.runtime.chat import Message
    from lineside.runtime.engine.sampling import Sampling
    from lineside.runtime.text.call_stream import TextDelta

    messages = [Message("user", (*map(_read_picture, options.image), options.text))]
    engine = open_engine(_bundle(options.bundle), device=options.device).engine
    started = time.perf_counter()
    pieces = stream(engine, messages, max_tokens=options.max_tokens, sampling=Sampling(options.temperature))
    for piece in pieces:
        if isinstance(piece, TextDelta):
            print(piece.text, end="", flush=True)
    print()
    answer, seconds = pieces.answer, time.perf_counter() - started
    tokens = f"{answer.counts.prompt} prompt tokens, {answer.counts.generated} answer tokens"
    print(f"[{answer.finish_reason}; {tokens}; {seconds:.2f} s]", file=sys.stderr)
    return 0


def _inspect(options: argparse.Namespace) -> int:
    from lineside.edge.device_choice import open_engine
    from lineside.runtime.inspection.inspector import Inspector
    from lineside.runtime.inspection.task import InspectionTask

    kinds = tuple(kind.strip() for kind in options.defects.split(",") if kind.strip())
    if not kinds:
        return _fail("--defects names no defect type", 2)
    reference = _read_picture(options.reference) if options.reference else None
    engine = open_engine(_bundle(options.bundle), device=options.device).engine
    inspector = Inspector(engine, InspectionTask(kinds, reference=reference))
    for path in options.pictures:
        inspection = inspector.inspect(_read_picture(path))
        print(f"{path.name}: {inspection.verdict} ({inspection.confidence:.1%})")
        for defect in inspection.defects:
            print(f"  {defect.type} at {', '.join(f'{value:g}' for value in defect.box)}")
    return 0


def _learn(options: argparse.Namespace) -> int:
    from lineside.edge.config import load_config
    from lineside.edge.tuning.learn import learn_station

    print("\n".join(learn_station(load_config(options.station), options.folder, options.camera).lines()))
    return 0


def _calibrate(options: argparse.Namespace) -> int:
    from lineside.edge.config import load_config
    from lineside.edge.tuning.calibrate import calibrate
    from lineside.edge.tuning.calibration_report import lines
    from lineside.runtime.inspection.calibration import Costs

    costs = Costs(options.missed_defect_costs, options.look_costs)
    if not (0 < costs.missed_defect < 1e6 and 0 <= costs.look < 1e6):
        return _fail("--missed-defect-costs must be above 0, --look-costs at least 0", 2)
    report = calibrate(load_config(options.station), options.folder, options.camera, costs)
    print("\n".join(lines(report)))
    try:
        from lineside.edge.tuning.reliability_plot import draw_reliability
    except ImportError:
        print("no reliability plot: matplotlib is missing, pip install 'lineside[plot]'")
        return 0
    plot = report.path.with_suffix(f".{options.camera}.png" if options.camera else ".png")
    try:
        draw_reliability(report, plot)
    except OSError as error:
        return _fail(f"no reliability plot: {plot} cannot be written ({error.strerror})", 1)
    print(f"plot        {plot}")
    return 0


def _export(options: argparse.Namespace) -> int:
    command = _export_stage("export")
    return int(
        command(
            options.checkpoint,
            options.bundle,
            options.precision,
            options.kv_cache,
            verbatim_arguments=options.verbatim_arguments,
            any_way_up=options.any_way_up,
        )
    )


def _engine(options: argparse.Namespace) -> int:
    from lineside.devices.accelerators import gpus
    from lineside.devices.errors import AcceleratorError

    try:
        present, name = next(((gpu.target, gpu.name) for gpu in gpus()), ("", ""))
    except AcceleratorError:
        present = name = ""
    target = options.target or present
    if not target:
        return _fail("this machine has no NVIDIA GPU: name one with --target, such as sm89", 2)
    return int(_export_stage("engine")(options.bundle, target, options.cache, present, name))


def _devices(options: argparse.Namespace) -> int:
    from lineside.edge.device_report import lines

    print("\n".join(lines(options.bundle)))
    return 0


def _export_stage(name: str) -> Callable[..., int]:
    """The export stage is not a part of the daemon, which must run without it: it is found by its entry points.

    Raises EdgeError where it is not installed.
    """
    from importlib.metadata import entry_points

    try:
        (command,) = (entry.load() for entry in entry_points(group="lineside.commands", name=name))
    except (ImportError, ValueError) as error:
        raise EdgeError(f"exporting needs the export extra ({error}): pip install 'lineside[export]'") from error
    return cast("Callable[..., int]", command)


def _demo(options: argparse.Namespace) -> int:
    from lineside.edge.demo.play import run_demo

    summary = run_demo(options.config, options.broker, options.output)
    if not summary.results or not summary.calls:
        return _fail(f"incomplete: {summary.results} results, {summary.calls} calls achieved", 1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
