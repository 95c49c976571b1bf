"""Commands about a station: new, run, learn, calibrate, demo. What is heavy is loaded when its command runs."""

from __future__ import annotations

import argparse
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from lineside.edge.command_line.fail import fail

if TYPE_CHECKING:
    from lineside.edge.config import Config


def new(options: argparse.Namespace) -> int:
    from lineside.edge.command_line.parser import TEMPLATES
    from lineside.edge.new_station import new_station

    station = new_station(options.folder, TEMPLATES, options.template)
    print(f"{station}: change it, then run `lineside check {station}` and `lineside run -c {station}`")
    return 0


def check(path: Path) -> int:
    """A station file alone: no engine is loaded for it."""
    from lineside.edge.broker_access import warnings_of

    config = _load(path)
    for warning in warnings_of(config.broker_access):
        print(f"warning: {warning}", file=sys.stderr)
    cameras, tools = (", ".join(names) or "none" for names in (config.cameras, config.tools))
    print(f"ok: station {config.station.name}, topics below {config.base_topic}; cameras {cameras}; tools {tools}")
    return 0


def run(options: argparse.Namespace) -> int:
    from lineside.edge.daemon import Daemon
    from lineside.edge.signals import StopSignals

    daemon = Daemon(_load(options.config))
    threading.excepthook = daemon.fail
    with StopSignals() as signals, daemon:
        daemon.wait(signals.wait)
    return int(daemon.failed)


def _load(path: Path) -> Config:
    """With everything that the daemon would find wrong when it starts."""
    from lineside.edge.calls.tool_checks import tool_problems
    from lineside.edge.station_file import load_config

    return load_config(path, also=(tool_problems,))


def learn(options: argparse.Namespace) -> int:
    from lineside.edge.station_file import load_config
    from lineside.edge.tuning.learn import learn_station

    print("\n".join(learn_station(load_config(options.station), options.folder, options.camera).lines()))
    return 0


def calibrate(options: argparse.Namespace) -> int:
    from lineside.edge.station_file import load_config
    from lineside.edge.tuning.calibrate import calibrate
    from lineside.edge.tuning.calibration_report import lines
    from lineside.runtime.inspection.calibration import Costs

    costs = Costs(options.missed_defect_costs, options.look_costs)
    if not (0 < costs.missed_defect < 1e6 and 0 <= costs.look < 1e6):
        return fail("--missed-defect-costs must be above 0, --look-costs at least 0", 2)
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
        return fail(f"no reliability plot: {plot} cannot be written ({error.strerror})", 1)
    print(f"plot        {plot}")
    return 0


def demo(options: argparse.Namespace) -> int:
    from lineside.edge.demo.play import run_demo

    summary = run_demo(options.config, options.broker, options.output)
    if not summary.results or not summary.calls:
        return fail(f"incomplete: {summary.results} results, {summary.calls} calls achieved", 1)
    return 0
