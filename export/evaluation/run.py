"""Put the held-out commands to a bundle, as the daemon would: `python -m lineside.export.evaluation.run BUNDLE`.

Twice: to the model alone, and with what the daemon has around it (retrieval before, doubt behind). Any bundle that can
call functions will do. Needs no torch and no data but what is in this folder.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.progress import track
from rich.table import Table

from lineside.export.evaluation.cases import Case, load_cases
from lineside.export.evaluation.scoring import Outcome, Rate, Score, score, score_groups, verdict
from lineside.runtime.assistant import DEFAULT_MAX_TOKENS, Answer, ask
from lineside.runtime.chat import Message
from lineside.runtime.commands.decide import Ask, Decider
from lineside.runtime.commands.heard import hear
from lineside.runtime.engine.engine import Engine
from lineside.runtime.engine.sampling import GREEDY
from lineside.runtime.errors import BundleError, EngineError

log = logging.getLogger("lineside.evaluation")


@dataclass(frozen=True)
class Given:
    """An answer, and the code of the check that holds its calls back, or ""."""

    answer: Answer
    doubt: str = ""


Answerer = Callable[[Case], Given]
INTERRUPTED = 130
TABLE_WIDTH = 140
HEADINGS = (
    "cases",
    "right tool",
    "right call",
    "not called",
    "wrongly called",
    "right answer",
    "right",
    "acted wrongly",
    "refused",
    "cut off",
    "ms",
)


def model_alone(engine: Engine) -> Answerer:
    """What the model does with a system turn, a user turn and all tools on offer; always greedy."""

    def answer(case: Case) -> Given:
        return Given(ask(engine, _messages(case), case.tools, sampling=GREEDY))

    return answer


def with_checks(engine: Engine) -> Answerer:
    """What the daemon does with a command that is no phrase, with its checks as they are by default; always greedy."""
    deciders: dict[tuple[str, ...], Decider] = {}

    def answer(case: Case) -> Given:
        names = tuple(tool.name for tool in case.tools)
        if names not in deciders:
            deciders[names] = Decider(engine, case.declared, case.system)
        decision = deciders[names].decide(_messages(case), hear(case.text), "auto", Ask(DEFAULT_MAX_TOKENS, GREEDY))
        return Given(decision.answer, decision.doubt.code if decision.doubt else "")

    return answer


def _messages(case: Case) -> list[Message]:
    return [Message("system", (case.system,)), Message("user", (case.text,))]


def run_case(case: Case, answer: Answerer) -> Outcome:
    """Ask, and take the time. An engine error is an outcome: the daemon replies with it and calls nothing."""
    started = time.perf_counter()
    try:
        given = answer(case)
    except EngineError as error:
        return Outcome(case, (), False, error.code, (time.perf_counter() - started) * 1e3)
    ms = (time.perf_counter() - started) * 1e3
    calls = () if given.doubt else given.answer.calls
    return Outcome(case, calls, given.answer.finish_reason != "stop", "", ms, given.doubt)


def report(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Scores as plain numbers: in all, by source and language, and by domain and language for our own commands; and
    what was called where it should not have been."""
    own = [outcome for outcome in outcomes if outcome.case.source == "own"]
    by_source = score_groups(outcomes, lambda case: f"{case.source} {case.language}")
    by_domain = score_groups(own, lambda case: f"{case.domain} {case.language}")
    return {
        "all": asdict(score(outcomes)),
        "by_source": {name: asdict(group) for name, group in by_source.items()},
        "by_domain": {name: asdict(group) for name, group in by_domain.items()},
        "acted_wrongly": [_told(outcome) for outcome in outcomes if verdict(outcome) == "acted wrongly"],
        "doubts": dict(Counter(outcome.doubt for outcome in outcomes if outcome.doubt)),
    }


def _told(outcome: Outcome) -> dict[str, Any]:
    case = outcome.case
    right = {case.expected.name: dict(case.expected.arguments)} if case.expected else None
    called = [{"name": call.name, "arguments": dict(call.arguments)} for call in outcome.calls]
    return {"id": case.id, "text": case.text, "right": right, "called": called}


def table(outcomes: Sequence[Outcome], title: str) -> Table:
    """The scores by source and language, for people."""
    drawn = Table(box=SIMPLE, title=title, caption="rates in percent, 95 % intervals in brackets")
    drawn.add_column("set", no_wrap=True)
    for heading in HEADINGS:
        drawn.add_column(heading, justify="right", no_wrap=True)
    groups = score_groups(outcomes, lambda case: f"{case.source} {case.language}")
    for name, group in [*groups.items(), ("all", score(outcomes))]:
        drawn.add_row(name, str(group.cases), *_cells(group))
    return drawn


def _cells(group: Score) -> list[str]:
    rates = (group.right_tool, group.right_call, group.not_called, group.wrongly_called, group.right_answer)
    shares = [f"{100 * one.rate:.1f}" for one in (group.right, group.acted_wrongly, group.refused)]
    return [*map(percent, rates), *shares, str(group.cut_off), f"{group.median_ms:.0f}"]


def percent(rate: Rate) -> str:
    """`12 [7-19]`, or a dash where nothing was counted."""
    if rate.of == 0:
        return "-"
    return f"{100 * rate.rate:.0f} [{100 * rate.low:.0f}-{100 * rate.high:.0f}]"


def _both(engine: Engine) -> list[dict[str, Any]]:
    """The reports of the model alone and with the checks, which are printed, too."""
    console, cases, reports = Console(stderr=True), load_cases(), []
    for title, answer in (("the model alone", model_alone(engine)), ("with the checks", with_checks(engine))):
        outcomes = [run_case(case, answer) for case in track(cases, description=title, console=console)]
        Console(width=TABLE_WIDTH).print(table(outcomes, title))
        for code, count in score(outcomes).errors.items():
            log.warning("%d commands got no answer: %s", count, code)
        reports.append(report(outcomes))
    return reports


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--out", type=Path, default=Path("evaluation-commands.json"))
    parser.add_argument("--threads", type=int, default=0, help="0 for as many as there are cores")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        engine = Engine.open(arguments.bundle, threads=arguments.threads)
    except BundleError as error:
        parser.error(str(error))
    try:
        alone, checked = _both(engine)
    except KeyboardInterrupt:
        log.info("broken off: nothing was written")
        return INTERRUPTED
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    written = {"model": engine.bundle.manifest.name, **alone, "checked": checked}
    arguments.out.write_text(json.dumps(written, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    log.info("%s", arguments.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
