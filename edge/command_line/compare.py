"""`lineside compare`: what another export of a model costs, and what it gives. Loaded when it runs."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING

from lineside.edge.command_line.bundle import bundle_path
from lineside.edge.command_line.fail import fail
from lineside.edge.command_line.parser import TEMPLATES

if TYPE_CHECKING:
    from lineside.edge.comparison.figures import Comparison

PICTURES = TEMPLATES / "ballscrew" / "pictures"
"""Those of `lineside demo`."""


def compare(options: argparse.Namespace) -> int:
    from lineside.edge.comparison.comparing import Wanted, compare, find_pictures
    from lineside.edge.comparison.readings import read_text
    from lineside.edge.comparison.report import as_json
    from lineside.runtime.agreement.tokens import TEXT
    from lineside.runtime.inspection.task import InspectionTask

    kinds = tuple(kind.strip() for kind in options.defects.split(",") if kind.strip())
    if not kinds:
        return fail("--defects names no defect type", 2)
    a, b = (bundle_path(path) for path in (options.a, options.b))
    text, pictures = read_text(options.text or TEXT), find_pictures(options.pictures or PICTURES)
    found = compare(a, b, Wanted(text, pictures, InspectionTask(kinds), options.device))
    if options.json:
        print(json.dumps(as_json(found), ensure_ascii=False))
    else:
        print_tables(found)
    if options.max_kl is not None and found.tokens.kl > options.max_kl:
        return fail(f"KL {found.tokens.kl:.4f} nat a token is above --max-kl {options.max_kl:g}", 1)
    return 0


def print_tables(found: Comparison) -> None:
    from rich.console import Console

    from lineside.edge.comparison.report import agreement_table, costs_table, lines, sentence

    console = Console(highlight=False)
    for one in (found.a, found.b):
        print(f"{one.label}: {one.name} ({one.path}), bundle {one.sha256[:12]}")
    console.print(agreement_table(found))
    console.print(costs_table(found))
    print("\n".join([*lines(found), "", sentence(found)]))
