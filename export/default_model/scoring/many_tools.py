"""The right tool among many: by words, by the model, by both.

`python -m lineside.export.default_model.scoring.many_tools` takes the held-out English commands that a tool fits, one
in `--every`, and fills up the tools of their domain with written ones of other domains. The model alone is shown all
of them at once, which ends where they fill its context.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lineside.export.default_model.data.written_tools import written_offer, written_tools
from lineside.export.evaluation.cases import Case, load_cases, load_tools
from lineside.runtime.assistant import ask
from lineside.runtime.chat import Message, Tool
from lineside.runtime.commands.decide import Ask, Decider
from lineside.runtime.commands.declared import Declared
from lineside.runtime.commands.heard import hear
from lineside.runtime.commands.trust import Trust
from lineside.runtime.defaults import DEFAULT_BUNDLE
from lineside.runtime.engine.engine import Engine
from lineside.runtime.engine.sampling import GREEDY
from lineside.runtime.errors import PromptTooLong

log = logging.getLogger("lineside.many_tools")
COUNTS = (5, 12, 50, 200)
SEED = 26
MOST_TOKENS = 128


@dataclass
class Hits:
    """Of `of` commands, how many got the right tool; `model` is None where the tools do not fit its context."""

    of: int = 0
    words: int = 0
    few: int = 0
    model: int | None = 0
    both: int = 0


def tools_for(case: Case, count: int, others: Sequence[Tool]) -> tuple[Tool, ...]:
    """The right tool, then those of its domain, then others: `count` of them in an order that tells nothing."""
    assert case.expected is not None
    domain = load_tools(case.domain).tools
    names = dict.fromkeys([case.expected.name, *(tool.name for tool in case.tools)])
    near = [domain[name] for name in names]
    if case.domain != "public":
        near += [tool for tool in domain.values() if tool.name not in names]
    taken = {tool.name for tool in near}
    chosen = [*near, *(tool for tool in others if tool.name not in taken)][:count]
    return tuple(sorted(chosen, key=lambda tool: tool.name[::-1]))


def distractors() -> list[Tool]:
    """Written tools under one of their names each, in a drawn order."""
    rng = np.random.default_rng(SEED)
    offers = [written_offer(row, rng).tool for rows in written_tools().values() for row in rows]
    named = {offer.name: offer for offer in offers}
    names = sorted(named)
    return [named[names[int(at)]] for at in rng.permutation(len(names))]


def measure(engine: Engine, cases: Sequence[Case], count: int, others: Sequence[Tool]) -> Hits:
    """Each command among `count` tools."""
    hits = Hits()
    for case in cases:
        assert case.expected is not None
        tools, right = tools_for(case, count, others), case.expected.name
        decider = Decider(engine, [Declared(tool) for tool in tools], case.system, Trust(enough=0.0, least_share=0.0))
        messages, heard = [Message("system", (case.system,)), Message("user", (case.text,))], hear(case.text)
        ranking = decider.rank(heard)
        hits.of += 1
        hits.words += ranking.best == right
        hits.few += right in [tool.name for tool in decider.offer(messages, ranking)]
        both = decider.decide(messages, heard, "auto", Ask(MOST_TOKENS, GREEDY, call_above=0.0)).answer.calls
        hits.both += [call.name for call in both[:1]] == [right]
        if hits.model is not None:
            try:
                calls = ask(engine, messages, tools, max_tokens=MOST_TOKENS, sampling=GREEDY, call_above=0.0).calls
                hits.model += [call.name for call in calls[:1]] == [right]
            except PromptTooLong:
                hits.model = None
    return hits


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path, default=DEFAULT_BUNDLE)
    parser.add_argument("--every", type=int, default=4, help="take one of so many commands")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    cases = [case for case in load_cases() if case.expected is not None and case.language == "en"][:: options.every]
    engine, others = Engine.open(options.bundle), distractors()
    log.info("| tools | commands | words alone | among the few | model alone | both |\n|---|---|---|---|---|---|")
    for count in COUNTS:
        hits = measure(engine, cases, count, others)
        model = "do not fit" if hits.model is None else f"{hits.model / hits.of:.0%}"
        shares = [f"{share / hits.of:.0%}" for share in (hits.words, hits.few)]
        log.info("| %d | %d | %s | %s | %s | %.0f%% |", count, hits.of, *shares, model, 100 * hits.both / hits.of)
    return 0


if __name__ == "__main__":
    sys.exit(main())
