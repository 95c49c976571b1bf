"""Put the figures on commands into a page: `python -m lineside.export.evaluation.publish COMMANDS STATIONS PAGE`.

COMMANDS and STATIONS are what `export.evaluation.run` and `export.evaluation.stations` wrote. Only what stands between
the two marks in PAGE is written; they are put at its end where they are missing.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

BEGIN, END = "<!-- commands: begin -->", "<!-- commands: end -->"
NAMES = ("right", "acted_wrongly", "refused")
HEAD = """## Commands

Written by `make evaluate`; do not edit. Model `{model}` on {cpu}, {date}. In percent. *Right* is the right call, or
none where nothing fits; *acted wrongly* is any call that should not have been, or with a wrong argument; *refused* is
nothing called, or not all of it, where something should have been. What the sets are, and how they came about, is in
[export/evaluation](export/evaluation/README.md).

"""


def section(spoken: Mapping[str, Any], stations: Mapping[str, Any], date: str, cpu: str) -> str:
    """The section in Markdown, marks included."""
    checked = spoken["checked"]
    sources = [
        (name, group["cases"], *_shares(group), *_shares(checked["by_source"][name]))
        for name, group in spoken["by_source"].items()
    ]
    sources.append(("all", spoken["all"]["cases"], *_shares(spoken["all"]), *_shares(checked["all"])))
    ways = [stations["without phrases"], stations["with phrases"]]
    groups = [{**way["by_language"], **way["by_set"], "all": way["all"]} for way in ways]
    rows = [(name, group["cases"], *_shares(group), *_shares(groups[1][name])) for name, group in groups[0].items()]
    text = HEAD.format(model=spoken["model"], cpu=cpu, date=date)
    text += _table("commands", "the model alone", "with the checks", sources)
    text += "\nThe stations that ship, with the checks:\n\n"
    text += _table("sentences", "without phrases", "with phrases", rows) + "\n" + _over_everything(checked, ways[1])
    return f"{BEGIN}\n{text}{END}\n"


def _over_everything(checked: Mapping[str, Any], stations: Mapping[str, Any]) -> str:
    everything = (checked["all"], _underlined(stations["all"]))
    public = [checked["by_source"][name] for name in ("hwu64 en", "snips en") if name in checked["by_source"]]
    return (
        f"With checks and phrases, over all {sum(group['cases'] for group in everything)}: "
        f"{_together(everything, 'acted_wrongly')} acted wrongly, {_together(everything, 'right')} right. "
        f"HWU64 and SNIPS together: {_together(public, 'right')} right.\n"
    )


def _together(groups: Iterable[Mapping[str, Any]], name: str) -> str:
    hits, of = (sum(group[name][key] for group in groups) for key in ("hits", "of"))
    return f"{100 * hits / max(of, 1):.1f} %"


def _underlined(group: Mapping[str, Any]) -> dict[str, Any]:
    return {name.replace(" ", "_"): value for name, value in group.items()}


def _shares(group: Mapping[str, Any]) -> list[str]:
    return [f"{100 * _underlined(group)[name]['rate']:.1f}" for name in NAMES]


def _table(first: str, left: str, right: str, rows: Iterable[tuple[Any, ...]]) -> str:
    names = [name.replace("_", " ") for name in NAMES]
    head = [first, "cases", *(f"{way}: {name}" for way in (left, right) for name in names)]
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(map(str, line)) + " |\n" for line in lines)


def put(page: str, text: str) -> str:
    """The page with this section in the place of the one that it had."""
    before, begin, rest = page.partition(BEGIN)
    if not begin:
        return f"{page.rstrip()}\n\n{text}" if page.strip() else text
    return before + text + rest.partition(END)[2].removeprefix("\n")


def taken(page: str) -> str:
    """The section of a page, marks included; empty where it has none."""
    _, begin, rest = page.partition(BEGIN)
    return f"{begin}{rest.partition(END)[0]}{END}\n" if begin else ""


def processor(info: Path = Path("/proc/cpuinfo")) -> str:
    """Its name, where the system tells it."""
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("commands", "stations", "page"):
        parser.add_argument(name, type=Path)
    options = parser.parse_args()
    spoken, stations = (json.loads(path.read_text(encoding="utf-8")) for path in (options.commands, options.stations))
    text = section(spoken, stations, datetime.now(UTC).date().isoformat(), processor())
    page = options.page.read_text(encoding="utf-8") if options.page.exists() else ""
    options.page.write_text(put(page, text), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
