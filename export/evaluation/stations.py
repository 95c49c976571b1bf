"""Put held-out sentences to the stations that ship: `python -m lineside.export.evaluation.stations BUNDLE`.

The product itself answers, by `lineside say`: with the stations' phrases, and without them. The sentences were written
without a look at the phrases; README.md tells how.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from lineside.export.evaluation.cases import FOLDER
from lineside.export.evaluation.matching import same
from lineside.export.evaluation.scoring import VERDICTS, Verdict, rate

log = logging.getLogger("lineside.evaluation")
STATIONS = ("ballscrew", "home", "car")
SETS = ("everyday", "adversarial")
WAYS = {"with phrases": (), "without phrases": ("--no-phrases",)}
"""How the stations are asked, and the options of `lineside say` for it."""


@dataclass(frozen=True)
class Sentence:
    """One line of a file of sentences.

    Attributes:
        right: tool -> arguments, all of which are to be called; None where nothing may be called.
        or_refuse: to call nothing is right, too.
    """

    set: str
    station: str
    language: str
    text: str
    kind: str
    right: Mapping[str, Mapping[str, Any]] | None
    or_refuse: bool = False


@dataclass(frozen=True)
class Said:
    """What a station would do with a sentence: calls that go out and change something, by whom (`phrase`, `model`), and
    why not."""

    sentence: Sentence
    calls: tuple[tuple[str, Mapping[str, Any]], ...]
    by: str
    code: str

    @property
    def verdict(self) -> Verdict:
        """Every call that goes out has to be one of the right ones, and none may go out twice."""
        right = self.sentence.right or {}
        if not self.calls:
            return "right" if not right or self.sentence.or_refuse else "refused"
        names = [name for name, _ in self.calls]
        if len(set(names)) < len(names) or not all(self._fits(right.get(name), given) for name, given in self.calls):
            return "acted wrongly"
        return "right" if set(names) == set(right) else "refused"

    def _fits(self, right: Mapping[str, Any] | None, given: Mapping[str, Any]) -> bool:
        if right is None or right.keys() != given.keys():
            return False
        return all(same(right[name], given[name], self.sentence.language) for name in right)


def load_sentences(station: str) -> list[Sentence]:
    """Everyday ones, then adversarial ones, in the order of the files."""
    lines = [(one, line) for one in SETS for line in _file(one).read_text(encoding="utf-8").splitlines()]
    sentences = [Sentence(one, **json.loads(line)) for one, line in lines]
    return [sentence for sentence in sentences if sentence.station == station]


def _file(one: str) -> Path:
    return FOLDER / "commands" / f"stations_{one}.jsonl"


def read_said(sentences: Sequence[Sentence], lines: Iterable[str]) -> list[Said]:
    """From the lines of `lineside say --json`, one for each sentence. Raises ValueError where they differ."""
    said = []
    for sentence, line in zip(sentences, lines, strict=True):
        told = json.loads(line)
        if told["text"] != sentence.text:
            raise ValueError(f"{told['text']!r} was answered, and {sentence.text!r} was asked")
        done = [call for call in told["calls"] if call["acts"] and call["outcome"] != "refused"]
        calls = tuple((call["name"], call["arguments"]) for call in done)
        said.append(Said(sentence, calls, told["by"], told["code"]))
    return said


def ask_station(folder: Path, options: Sequence[str], bundle: Path) -> list[Said]:
    """Put all its sentences to the station in this folder, by a process of its own.

    Raises:
        RuntimeError: `lineside say` failed; it has said why.
    """
    sentences = load_sentences(folder.name)
    with TemporaryDirectory() as temporary:
        asked = Path(temporary) / "sentences.txt"
        asked.write_text("\n".join(sentence.text for sentence in sentences), encoding="utf-8")
        command = [sys.executable, "-m", "lineside", "say", str(folder), "--all", str(asked), "--json", *options]
        environment = {**os.environ, "LINESIDE_MODEL__BUNDLE": str(bundle.resolve())}
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"lineside say {folder} ended with {done.returncode}")
    return read_said(sentences, done.stdout.splitlines())


def count(said: Sequence[Said]) -> dict[str, Any]:
    """Each verdict's share of them."""
    verdicts = Counter(one.verdict for one in said)
    return {"cases": len(said)} | {name: asdict(rate(verdicts[name], len(said))) for name in VERDICTS}


def report(said: Sequence[Said]) -> dict[str, Any]:
    """Shares in all and by language, set, station and kind; and every sentence that was not answered rightly."""
    figures: dict[str, Any] = {"all": count(said), "by_phrase": sum(one.by == "phrase" for one in said)}
    for key in ("language", "set", "station", "kind"):
        names = dict.fromkeys(getattr(one.sentence, key) for one in said)
        groups = {name: [one for one in said if getattr(one.sentence, key) == name] for name in names}
        figures[f"by_{key}"] = {name: count(group) for name, group in groups.items()}
    for name in ("acted wrongly", "refused"):
        figures[name] = [_told(one) for one in said if one.verdict == name]
    return figures


def _told(said: Said) -> dict[str, Any]:
    calls = [{"name": name, "arguments": dict(arguments)} for name, arguments in said.calls]
    return {**asdict(said.sentence), "called": calls, "by": said.by, "code": said.code}


def table(reports: Mapping[str, Mapping[str, Any]]) -> Table:
    """Shares in percent, for people."""
    drawn = Table(box=SIMPLE, caption="percent")
    drawn.add_column("stations", no_wrap=True)
    for heading in ("cases", *VERDICTS):
        drawn.add_column(heading, justify="right", no_wrap=True)
    for way, figures in reports.items():
        groups = {**figures["by_language"], **figures["by_set"], **figures["by_station"], "all": figures["all"]}
        for name, group in groups.items():
            shares = [f"{100 * group[one]['rate']:.1f}" for one in VERDICTS]
            drawn.add_row(f"{way}, {name}", str(group["cases"]), *shares)
        drawn.add_section()
    return drawn


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--stations", type=Path, default=Path("deploy/stations"), help="the folder with the stations")
    parser.add_argument("--out", type=Path, default=Path("evaluation-stations.json"))
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    reports = {}
    for way, options in WAYS.items():
        said = []
        for station in STATIONS:
            log.info("%s, %s", station, way)
            try:
                said += ask_station(arguments.stations / station, options, arguments.bundle)
            except (RuntimeError, ValueError) as error:
                parser.error(str(error))
        reports[way] = report(said)
    Console(width=100).print(table(reports))
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(reports, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    log.info("%s", arguments.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
