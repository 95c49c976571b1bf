"""Every command and option of `lineside`. Nothing is loaded here: `--help` and shell completion are at once."""

from __future__ import annotations

import argparse
import math
from pathlib import Path

from lineside import __version__
from lineside.runtime.boards import DEVICES as PLANNED_DEVICES

DEVICES = ("auto", "tensorrt", "cuda", "cpu")
TAUGHT = "a file that declares what the model was taught: parts, languages, rounds ..."
TEMPLATES = Path(__file__).parents[2] / "deploy" / "stations"
"""Stations that come with Lineside, to start from."""


def make_parser() -> argparse.ArgumentParser:
    """`handler` of what it parses names the module of this package and the function that carries the command out."""
    parser = argparse.ArgumentParser(prog="lineside", description="Vision-language inspection beside the camera.")
    parser.add_argument("--version", action="version", version=f"lineside {__version__}")
    parser.add_argument("--log", choices=("auto", "json", "text"), default="auto", help="the form of the log")
    parser.add_argument(
        "--log-level", choices=("debug", "info", "warning", "error"), default="", help="the least that is logged"
    )
    commands = parser.add_subparsers(dest="command", required=True)
    _station_commands(commands)
    _proving_commands(commands)
    _tuning_commands(commands)
    _model_commands(commands)
    _check_command(commands)
    _plan_command(commands)
    _asking_commands(commands)
    _compare_command(commands)
    _upkeep_commands(commands)
    _export_commands(commands)
    completion = commands.add_parser("completion", help="print a completion script for a shell")
    completion.add_argument("shell", choices=("bash", "zsh"), help="put its output where the shell finds it")
    completion.set_defaults(handler="main.completion")
    return parser


Commands = argparse._SubParsersAction  # argparse has no public name for it


def _station_commands(commands: Commands[argparse.ArgumentParser]) -> None:
    new = commands.add_parser("new", help="copy a station that comes with Lineside, to start from")
    new.add_argument("folder", type=Path, metavar="STATION", help="folder to make; its name becomes the station's")
    new.add_argument("--template", default="ballscrew", help="one of ballscrew, boards, bottles, car, factory, home")
    new.set_defaults(handler="station.new")

    run = commands.add_parser("run", help="run the daemon of a station")
    run.add_argument("-c", "--config", type=Path, required=True, metavar="station.toml", help="the station file")
    run.set_defaults(handler="station.run")

    mcp = commands.add_parser("mcp", help="let clients of the Model Context Protocol inspect and ask, read-only")
    mcp.add_argument("-c", "--config", type=Path, required=True, metavar="station.toml", help="the station file")
    mcp.add_argument(
        "--http", type=int, default=0, metavar="PORT", help="on 127.0.0.1, instead of standard input and output"
    )
    mcp.set_defaults(handler="station.mcp")

    top = commands.add_parser("top", help="show a station live, from what it says over MQTT")
    top.add_argument("station", type=Path, nargs="?", metavar="STATION", help="the station file, or its folder")
    top.add_argument(
        "--broker", default="", metavar="mqtt://HOST/TOPIC", help="instead of a station file: mqtts:// for TLS"
    )
    top.add_argument("--once", action="store_true", help="print the first screen that is complete, and end")
    top.set_defaults(handler="top.top")

    announced = commands.add_parser("home-assistant", help="show what a station announces to Home Assistant")
    announced.add_argument("station", type=Path, metavar="STATION", help="the station file, or its folder")
    announced.add_argument("--remove", action="store_true", help="take back what was announced")
    announced.set_defaults(handler="home_assistant.home_assistant")

    demo = commands.add_parser("demo", help="play a station and show what comes over the broker")
    demo.add_argument(
        "station",
        nargs="?",
        default="ballscrew",
        help="a station that ships (factory, home, car, ballscrew), a station file, or its folder",
    )
    demo.add_argument(
        "--broker", default="", metavar="mqtt://...", help="the broker's address; an embedded broker where left out"
    )
    demo.add_argument(
        "--output", type=Path, default=Path("demo-output"), metavar="FOLDER", help="where the evidence pictures go"
    )
    demo.set_defaults(handler="station.demo")

    say = commands.add_parser(
        "say", help="tell what a sentence would do, by phrase or model, and why; nothing is called"
    )
    say.add_argument("station", type=Path, metavar="STATION", help="the station file, or its folder")
    say.add_argument("text", nargs="?", default="", help="the sentence; left out with --all")
    say.add_argument(
        "--all", type=Path, metavar="FILE", help='a sentence a line, or JSON lines with "text", and "right" where known'
    )
    say.add_argument("--json", action="store_true", help="a JSON object a sentence, one a line, instead of a table")
    say.add_argument("--no-phrases", action="store_true", help="the model only: what it would do without the phrases")
    say.add_argument("--no-model", action="store_true", help="phrases only: the model is not loaded")
    say.set_defaults(handler="say.say")


def _proving_commands(commands: Commands[argparse.ArgumentParser]) -> None:
    history = commands.add_parser("history", help="search the verdicts that a station has kept, newest first")
    history.add_argument("--part", default="", metavar="ID", help="of this part; * stands for anything")
    history.add_argument("--camera", default="", help="of this camera")
    history.add_argument(
        "--verdict", nargs="+", default=(), choices=("pass", "fail", "unsure"), help="these verdicts only"
    )
    history.add_argument(
        "--since", default="", metavar="TIME", help="captured at this time or later; UTC without a zone"
    )
    history.add_argument("--until", default="", metavar="TIME", help="captured at this time or earlier")
    history.add_argument("--limit", type=int, default=0, metavar="N", help="at most so many; 0 for all")
    history.add_argument("--csv", type=Path, metavar="FILE", help="write CSV there; - for standard output")
    history.set_defaults(handler="prove.history")

    replay = commands.add_parser("replay", help="make a result again, and say whether the same tokens come out")
    replay.add_argument("id", metavar="ID", help="the result's id, from its message, `history` or its evidence picture")
    replay.add_argument("--bundle", type=Path, help="the folder of the model of then, where the station has another")
    replay.set_defaults(handler="prove.replay")

    audit = commands.add_parser("audit", help="check that no line of the audit log was changed, taken out or added")
    audit.add_argument("action", choices=("verify",), metavar="verify", help="read it all and follow its chain")
    audit.set_defaults(handler="prove.audit")
    for command in (history, replay, audit):
        command.add_argument(
            "-c", "--config", type=Path, default=Path("station.toml"), metavar="station.toml", help="the station file"
        )


def _tuning_commands(commands: Commands[argparse.ArgumentParser]) -> None:
    learn = commands.add_parser("learn", help="learn from a few good pictures what a part looks like")
    learn.add_argument("station", type=Path, metavar="station.toml", help="the station file")
    learn.add_argument(
        "folder", type=Path, help="a folder with pictures of good parts, 10 or more; bad ones, if any, in FOLDER/bad"
    )
    learn.add_argument("--camera", default="", help="the camera's name; all cameras where left out")
    learn.add_argument(
        "--false-alarms",
        type=float,
        default=0.02,
        metavar="SHARE",
        help="the share of good parts that may fail, 0.001 to 0.3 (default 0.02); with more, fewer are unsure",
    )
    learn.set_defaults(handler="station.learn")

    calibrate = commands.add_parser("calibrate", help="put a station's probabilities right, by what you labelled")
    calibrate.add_argument("station", type=Path, metavar="station.toml", help="the station file")
    calibrate.add_argument(
        "folder", type=Path, nargs="?", help="labelled pictures: a folder with pass/ and fail/, or a labels.jsonl"
    )
    calibrate.add_argument(
        "--commands",
        type=Path,
        metavar="FILE",
        help='labelled sentences in place of pictures: lines of {"text": ..., "right": {tool: arguments} or null}',
    )
    calibrate.add_argument("--camera", default="", help="the camera's name; all cameras where left out")
    calibrate.add_argument(
        "--missed-defect-costs",
        type=float,
        default=10.0,
        metavar="N",
        help="what a missed defect costs, in false alarms",
    )
    calibrate.add_argument(
        "--look-costs",
        type=float,
        default=0.25,
        metavar="U",
        help="what a person's look at an `unsure` costs, in false alarms",
    )
    calibrate.set_defaults(handler="station.calibrate")


def _model_commands(commands: Commands[argparse.ArgumentParser]) -> None:
    model = commands.add_parser("model", help="install another model at a station, list them, go back to the former")
    ways = model.add_subparsers(dest="way", required=True)
    install = ways.add_parser("install", help="fetch a bundle, verify it, try it out, and make it the station's model")
    install.add_argument("source", metavar="PATH_OR_URL", help="bundle folder, or its address on the local network")
    install.add_argument("--sha256", default="", help="of its bundle.json: no other is installed")
    install.add_argument(
        "--key", type=Path, metavar="minisign.pub", help="whose signature it must have, instead of `updates.key_file`"
    )
    install.set_defaults(handler="model.install")
    listed = ways.add_parser("list", help="list the models of a station: current, former")
    listed.set_defaults(handler="model.list_models")
    rollback = ways.add_parser("rollback", help="make the former model the station's again")
    rollback.set_defaults(handler="model.rollback")
    for way in (install, listed, rollback):
        way.add_argument(
            "-c", "--config", type=Path, default=Path("station.toml"), metavar="station.toml", help="the station file"
        )


def _check_command(commands: Commands[argparse.ArgumentParser]) -> None:
    check = commands.add_parser("check", help="check a station file, or a bundle's hashes and self-test")
    check.add_argument("path", type=Path, nargs="?", help="station.toml, or bundle folder; the default model if none")
    check.add_argument(
        "--bundles", action="store_true", help="with a station: every bundle that it runs too, hashes and self-test"
    )
    _add_device(check)
    check.set_defaults(handler="bundle.check")


def _plan_command(commands: Commands[argparse.ArgumentParser]) -> None:
    plan = commands.add_parser("plan", help="say what a model needs and how fast it can be, before anything is built")
    plan.add_argument(
        "bundle",
        type=Path,
        metavar="MODEL",
        help="bundle folder, `default`, station.toml for its models together, a checkpoint, or the name of a known "
        "model, such as mistral-small-3.2, without any files",
    )
    plan.add_argument(
        "--device",
        choices=PLANNED_DEVICES,
        default="",
        help="memory by part, tokens a second, seconds a picture there: by its vendor's figures; cpu is measured",
    )
    plan.add_argument(
        "--tokens", type=int, default=0, help="tokens of KV cache; 4096 where left out, of a bundle alone its context"
    )
    plan.add_argument("--max-side", type=int, default=0, metavar="PIXELS", help="the largest picture's longer side")
    plan.add_argument(
        "--kv-cache",
        choices=("float32", "float16", "int8"),
        default="",
        help="number format of keys and values; where left out float32 on a CPU, float16 elsewhere",
    )
    _add_formats(plan)
    plan.add_argument("--memory-gb", type=float, default=0.0, help="the device's memory; what it has where left out")
    plan.set_defaults(handler="plan.plan")


def _asking_commands(commands: Commands[argparse.ArgumentParser]) -> None:
    ask = commands.add_parser("ask", help="answer once, without MQTT")
    ask.add_argument("bundle", type=Path, help="bundle folder, or `default`")
    ask.add_argument("text", help="the question")
    ask.add_argument("--image", type=Path, action="append", default=[], help="a picture; may be repeated")
    ask.add_argument(
        "--temperature", type=float, default=0.15, help="how freely the answer is sampled; 0 takes the likeliest token"
    )
    ask.add_argument("--schema", type=Path, help="a file with a JSON Schema: the answer is JSON that satisfies it")
    ask.add_argument("--max-tokens", type=int, default=256, help="the longest answer, in tokens")
    _add_device(ask)
    ask.set_defaults(handler="bundle.ask")

    inspect = commands.add_parser("inspect", help="inspect pictures, without MQTT")
    inspect.add_argument("bundle", type=Path, help="bundle folder, or `default`")
    inspect.add_argument("pictures", type=Path, nargs="+", metavar="picture", help="JPEG, PNG, BMP, TIFF or WebP files")
    inspect.add_argument("--defects", default="pitting", help="defect types, separated by commas")
    inspect.add_argument("--part", default="", help="what they show, as the bundle names what its model was taught")
    inspect.add_argument("--reference", type=Path, help="a picture of a part without defects, from the same side")
    inspect.add_argument("--json", action="store_true", help="a JSON object a picture, one a line")
    inspect.add_argument(
        "--save", type=Path, metavar="FOLDER", help="keep each picture there, with its boxes and verdict drawn"
    )
    _add_device(inspect)
    inspect.set_defaults(handler="bundle.inspect")


def _upkeep_commands(commands: Commands[argparse.ArgumentParser]) -> None:
    upgrade = commands.add_parser("upgrade", help="bring a bundle up to this version, without its checkpoint")
    upgrade.add_argument("bundle", type=Path, help="bundle folder, or `default`")
    upgrade.add_argument("--taught", type=Path, metavar="FILE.toml", help=f"{TAUGHT}; kept where left out")
    upgrade.set_defaults(handler="bundle.upgrade")

    devices = commands.add_parser("devices", help="list what this machine can run on, and what it lacks")
    devices.add_argument(
        "bundle", type=Path, nargs="?", help="a bundle folder, or `default`: says whether it fits this machine"
    )
    devices.set_defaults(handler="bundle.devices")


def _compare_command(commands: Commands[argparse.ArgumentParser]) -> None:
    compare = commands.add_parser("compare", help="say how far a bundle agrees with another, and what each costs")
    compare.add_argument("a", type=Path, metavar="A", help="the reference: bundle folder, or `default`")
    compare.add_argument("b", type=Path, metavar="B", help="the candidate, with the same vocabulary")
    compare.add_argument("--text", type=Path, metavar="FILE", help="read by both; one that ships where left out")
    compare.add_argument(
        "--pictures", type=Path, metavar="FOLDER", help="inspected by both; those of the demo where left out"
    )
    compare.add_argument("--defects", default="pitting", help="defect types to look for, separated by commas")
    compare.add_argument(
        "--max-kl",
        type=_positive,
        metavar="NATS",
        help="the exit code is 1 where the mean KL(A || B) of a token is larger",
    )
    compare.add_argument("--json", action="store_true", help="a JSON object instead of tables")
    _add_device(compare)
    compare.set_defaults(handler="compare.compare")


def _export_commands(commands: Commands[argparse.ArgumentParser]) -> None:
    export = commands.add_parser("export", help="turn a checkpoint (a folder, or a GGUF file) into a bundle")
    export.add_argument("checkpoint", type=Path, help="folder of a Hugging Face checkpoint, or a GGUF file")
    export.add_argument("bundle", type=Path, help="folder to make")
    export.add_argument("--adapter", type=Path, metavar="FOLDER", help="LoRA adapter, as peft saves it, to merge")
    _export_options(export)
    export.set_defaults(handler="bundle.export")

    pull = commands.add_parser("pull", help="download a model of the Hugging Face hub and turn it into a bundle")
    pull.add_argument(
        "name", help="such as mistralai/Ministral-3-3B-Instruct-2512, or the address of a model or GGUF file"
    )
    pull.add_argument("bundle", type=Path, nargs="?", help="folder to make; named after the model where left out")
    pull.add_argument("--keep", action="store_true", help="leave the download in BUNDLE.download")
    _export_options(pull)
    pull.set_defaults(handler="bundle.pull")

    engine = commands.add_parser("engine", help="build TensorRT engines of a bundle")
    engine.add_argument("bundle", type=Path, help="bundle folder, or `default`")
    engine.add_argument("--target", default="", help="such as sm89 (`lineside devices`); this GPU where left out")
    engine.add_argument("--cache", type=int, nargs="+", default=[], metavar="TOKENS", help="lengths of the KV cache")
    engine.set_defaults(handler="bundle.engine")


def _export_options(parser: argparse.ArgumentParser) -> None:
    _add_formats(parser)
    parser.add_argument(
        "--max-kl",
        type=_positive,
        metavar="NATS",
        help="fail where the bundle is further from the float model, in nats a token; 0.5 where left out",
    )
    parser.add_argument(
        "--kv-cache", choices=("float32", "float16", "int8"), default="float32", help="number format of keys and values"
    )
    parser.add_argument(
        "--verbatim-arguments",
        action="store_true",
        help="free texts in the arguments of calls are words of the conversation: for small models, which misspell",
    )
    parser.add_argument(
        "--any-way-up",
        action="store_true",
        help="test-time augmentation: the model was taught parts whichever way up they are, and sees a frame once "
        "more, rotated, where that may change the verdict",
    )
    parser.add_argument("--taught", type=Path, metavar="FILE.toml", help=f"{TAUGHT}; no bounds where left out")


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not a finite number above 0")
    return value


def _add_formats(parser: argparse.ArgumentParser) -> None:
    """What of an export decides on disk, memory and time: `plan` and `export` have them alike."""
    formats = ("int4", "int8", "float32")
    parser.add_argument(
        "--precision", choices=("int4", "float32"), default="int4", help="number format of the decoder's matrices"
    )
    table = "number format of the embedding table; of the head too, where it is the table"
    parser.add_argument("--embedding", choices=formats, help=table)
    parser.add_argument("--head", choices=formats, help="number format of the head")
    parser.add_argument(
        "--quantizer",
        choices=("gptq", "awq", "nearest", "hqq"),
        help="how INT4 is rounded; gptq where left out. nearest is quick and coarser, hqq is for a CPU alone",
    )
    parser.add_argument(
        "--target",
        choices=("any", "cpu"),
        default="any",
        help="cpu: finer INT4 with zero points, for CPUs alone: no GPU and no engines",
    )
    parser.add_argument(
        "--sensitive",
        choices=("int4", "int8"),
        help="int8: 8 bits for the matrices where 4 cost most, 4.75 bits a weight instead of 4.5; int4 where left out",
    )


def _add_device(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", choices=DEVICES, default="auto", help="what to run on (`lineside devices`)")
