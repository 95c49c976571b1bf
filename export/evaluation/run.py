"""Put the held-out commands to a bundle, as the daemon would: `python -m lineside.export.evaluation.run BUNDLE`.

Any bundle that can call functions will do. Needs no torch and no data but what is in this folder.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.progress import track
from rich.table import Table

from lineside.export.evaluation.cases import Case, load_cases
from lineside.export.evaluation.scoring import Outcome, Rate, Score, score, score_groups
from lineside.runtime.assistant import Answer, ask
from lineside.runtime.chat import Message
from lineside.runtime.engine.engine import Engine
from lineside.runtime.engine.sampling import GREEDY
from lineside.runtime.errors import BundleError, EngineError

log = logging.getLogger("lineside.evaluation")

Answerer = Callable[[Case], Answer]
INTERRUPTED = 130
TABLE_WIDTH = 140
HEADINGS = (
    "cases",
    "right tool",
    "right call",
    "not called",
    "wrongly called",
    "right answer",
    "never calls",
    "cut off",
    "ms",
)


def answerer(engine: Engine) -> Answerer:
    """What the daemon does with a command: a system turn, a user turn, the station's tools; but always greedy."""

    def answer(case: Case) -> Answer:
        messages = [Message("system", (case.system,)), Message("user", (case.text,))]
        return ask(engine, messages, case.tools, sampling=GREEDY)

    return answer


def run_case(case: Case, answer: Answerer) -> Outcome:
    """Ask, and take the time. An engine error is an outcome: the daemon replies with it and calls nothing."""
    started = time.perf_counter()
    try:
        given = answer(case)
    except EngineError as error:
        return Outcome(case, (), False, error.code, (time.perf_counter() - started) * 1e3)
    return Outcome(case, given.calls, given.finish_reason != "stop", "", (time.perf_counter() - started) * 1e3)


def report(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Scores as plain numbers: in all, by source and language, and by domain and language for our own commands."""
    own = [outcome for outcome in outcomes if outcome.case.source == "own"]
    by_source = score_groups(outcomes, lambda case: f"{case.source} {case.language}")
    by_domain = score_groups(own, lambda case: f"{case.domain} {case.language}")
    return {
        "all": asdict(score(outcomes)),
        "by_source": {name: asdict(group) for name, group in by_source.items()},
        "by_domain": {name: asdict(group) for name, group in by_domain.items()},
    }


def table(outcomes: Sequence[Outcome]) -> Table:
    """The scores by source and language, for people."""
    drawn = Table(box=SIMPLE, caption="rates in percent, 95 % intervals in brackets")
    drawn.add_column("set", no_wrap=True)
    for heading in HEADINGS:
        drawn.add_column(heading, justify="right", no_wrap=True)
    groups = score_groups(outcomes, lambda case: f"{case.source} {case.language}")
    for name, group in [*groups.items(), ("all", score(outcomes))]:
        drawn.add_row(name, str(group.cases), *_cells(group))
    return drawn


def _cells(group: Score) -> list[str]:
    rates = (group.right_tool, group.right_call, group.not_called, group.wrongly_called, group.right_answer)
    never = f"{group.never_calls.rate:.0%}".rstrip("%")
    return [*map(percent, rates), never, str(group.cut_off), f"{group.median_ms:.0f}"]


def percent(rate: Rate) -> str:
    """`12 [7-19]`, or a dash where nothing was counted."""
    if rate.of == 0:
        return "-"
    return f"{100 * rate.rate:.0f} [{100 * rate.low:.0f}-{100 * rate.high:.0f}]"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--out", type=Path, default=Path("evaluation-commands.json"))
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        answer = answerer(Engine.open(arguments.bundle))
    except BundleError as error:
        parser.error(str(error))
    console = Console(stderr=True)
    try:
        outcomes = [
            run_case(case, answer) for case in track(load_cases(), description="held-out commands", console=console)
        ]
    except KeyboardInterrupt:
        log.info("broken off: nothing was written")
        return INTERRUPTED
    Console(width=TABLE_WIDTH).print(table(outcomes))
    for code, count in score(outcomes).errors.items():
        log.warning("%d commands got no answer: %s", count, code)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(report(outcomes), indent=2) + "\n", encoding="utf-8")
    log.info("%s", arguments.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
