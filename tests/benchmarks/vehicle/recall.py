"""Which share of sentences has its signal among the few tools that the model is shown, of 100 signals as tools.

`python -m tests.benchmarks.vehicle.recall [--without-words]`. The sentences in `signals.jsonl`, one for each signal in
four languages, were written before the words of `edge/vss/languages`.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from lineside.edge.config import Config
from lineside.edge.phrase_files import plain_sentences, plain_words
from lineside.edge.station_file import load_config
from lineside.runtime.chat import Tool
from lineside.runtime.commands.declared import Declared
from lineside.runtime.commands.heard import hear
from lineside.runtime.commands.retrieval import ToolIndex

HERE = Path(__file__).parent
SIGNALS = HERE.parents[2] / "deploy" / "stations" / "car" / "signals.json"
LANGUAGES = ("en", "de", "fr", "es")
AT = (1, 3, 8)
ASKED = ("Cabin.Door.Row1.DriverSide.IsOpen", "Cabin.Door.Row1.PassengerSide.IsOpen", "Chassis.ParkingBrake.IsEngaged")
"""Actuators that are asked for here, and not set."""
STATION = """
[vss]
file = "{file}"
actuators = ["**"]
sensors = ["**", {asked}]
publish = "vehicle/set"
states = "vehicle"
"""


def vehicle() -> Config:
    """A station with every signal of the file as one tool."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "station.toml"
        asked = ", ".join(f'"{path}"' for path in ASKED)
        path.write_text(STATION.format(file=SIGNALS, asked=asked), encoding="utf-8")
        config = load_config(path, {})
    tools = {name: tool for name, tool in config.tools.items() if name not in {name_of(path, "set") for path in ASKED}}
    return replace(config, tools=tools)


def name_of(path: str, verb: str) -> str:
    return f"{verb}_{path.replace('.', '_')}"


def index_of(config: Config) -> ToolIndex:
    words, phrases = plain_words(config), plain_sentences(config)
    return ToolIndex(
        [
            Declared(
                Tool(name, tool.description, tool.parameters),
                phrases=phrases.get(name, ()),
                words=words.get(name, {}),
                units=tool.units,
                read_only=None if tool.acts else True,
            )
            for name, tool in config.tools.items()
        ]
    )


def sentences() -> list[dict[str, str]]:
    lines = (HERE / "signals.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def measure(config: Config) -> tuple[dict[str, dict[int, float]], list[str]]:
    """The shares by language and number of tools, and what was not among the largest number."""
    index, right, missed = index_of(config), dict[str, Counter[int]](), list[str]()
    asked = sentences()
    for line in asked:
        names = [name for name in (name_of(line["signal"], verb) for verb in ("set", "get")) if name in config.tools]
        for spoken in LANGUAGES:
            ranking = index.rank(hear(line[spoken]))
            scores = [(name, score) for name, score in ranking.scores.items() if score > 0]
            place = next((at for at, (name, _) in enumerate(scores) if name in names), len(config.tools))
            right.setdefault(spoken, Counter()).update(at for at in AT if place < at)
            if place >= max(AT):
                missed.append(f"{spoken}: {line[spoken]} ({names[0]})")
    shares = {spoken: {at: counted[at] / len(asked) for at in AT} for spoken, counted in right.items()}
    shares["all"] = {at: sum(shares[spoken][at] for spoken in LANGUAGES) / len(LANGUAGES) for at in AT}
    return shares, missed


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--without-words", action="store_true", help="the descriptions of the file alone")
    parser.add_argument("--missed", action="store_true", help="print what was not found")
    options = parser.parse_args(arguments)
    config = vehicle()
    if options.without_words:
        config = replace(config, vss=replace(config.vss, languages=()))
    shares, missed = measure(config)
    print(f"{len(config.tools)} tools; share of sentences with the right one among the first")  # noqa: T201
    for spoken, by in shares.items():
        print(f"{spoken:4}" + "".join(f"  {at}: {100 * share:5.1f} %" for at, share in by.items()))  # noqa: T201
    if options.missed:
        print("\n".join(missed))  # noqa: T201


if __name__ == "__main__":
    main()
