"""Commands about a station: new, run, mcp, learn, calibrate, demo. What is heavy is loaded when its command runs."""

from __future__ import annotations

import argparse
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from lineside.edge.command_line.fail import fail

if TYPE_CHECKING:
    from lineside.edge.config import Config, Device


def new(options: argparse.Namespace) -> int:
    from lineside.edge.command_line.parser import TEMPLATES
    from lineside.edge.new_station import new_station

    station = new_station(options.folder, TEMPLATES, options.template)
    print(f"{station}: change it, then run `lineside check {station}` and `lineside run -c {station}`")
    return 0


def check(path: Path, *, bundles: bool = False, device: Device = "auto") -> int:
    """A station file. No engine is loaded for it, unless its `bundles` are to be checked too, on `device` or where it
    is `auto`, on what the station names.
    """
    from lineside.edge.broker_access import warnings_of
    from lineside.edge.command_line.devices import with_known_devices
    from lineside.edge.commands.phrases.phrasing import phrases_of
    from lineside.edge.trigger_checks import trigger_warnings
    from lineside.edge.triggers_config import alone

    config = with_known_devices(_load(path))
    phrases_of(config)
    for warning in warnings_of(config.broker_access):
        print(f"warning: {warning}", file=sys.stderr)
    for warning in trigger_warnings(config):
        print(f"warning: {warning}", file=sys.stderr)
    for key, value in config.changed.items():
        print(f"changed from outside: {key} = {value!r} ({config.changes_path.name})")
    for camera, names in alone(config.triggers).items():
        print(f"{camera} is looked at for {', '.join(names)}, and not by itself (`also_untriggered` is false)")
    cameras, tools = (", ".join(names) or "none" for names in (config.cameras, config.tools))
    if bundles:
        from lineside.edge.command_line.bundle import check_bundle
        from lineside.edge.models import one_model

        own = [(config.bundle_path, config.model.device), (config.commands_bundle_path, config.commands_device)]
        for bundle, named in own[:1] if one_model(config) else own:
            check_bundle(bundle, named if device == "auto" else device)
    print(f"ok: station {config.station.name}, topics below {config.base_topic}; cameras {cameras}; tools {tools}")
    return 0


def run(options: argparse.Namespace) -> int:
    from lineside.edge.large_pages import use_large_pages

    config = _load(options.config / "station.toml" if options.config.is_dir() else options.config)
    use_large_pages((config.bundle_path, config.commands_bundle_path))
    from lineside.edge.daemon import Daemon
    from lineside.edge.signals import ENDING_S, StopSignals, end_in_time

    daemon = Daemon(config)
    threading.excepthook = daemon.fail
    with StopSignals(daemon.reloader.ask) as signals, daemon:
        daemon.wait(signals.wait)
        end_in_time(daemon.config.station.drain_s + ENDING_S)
    return int(daemon.failed)


def mcp(options: argparse.Namespace) -> int:
    from importlib.util import find_spec

    from lineside.edge.command_line.devices import with_known_devices
    from lineside.edge.errors import EdgeError
    from lineside.edge.station_file import load_config

    if find_spec("mcp") is None:
        raise EdgeError("this needs another package: pip install 'lineside[mcp]'")
    if not 0 <= options.http <= 65535:
        return fail(f"--http {options.http}: a port is a number from 1 to 65535", 2)
    config = with_known_devices(load_config(options.config))
    from lineside.edge.integrations.mcp.exposed import serve, serve_http

    if options.http:
        serve_http(config, options.http)
    else:
        serve(config)
    return 0


def _load(path: Path) -> Config:
    """With everything that the daemon would find wrong when it starts."""
    from lineside.edge.calls.tool_checks import tool_problems
    from lineside.edge.station_file import load_config

    return load_config(path, also=(tool_problems,))


def learn(options: argparse.Namespace) -> int:
    from lineside.edge.station_file import load_config
    from lineside.edge.tuning.learn import learn_station

    learnt = learn_station(load_config(options.station), options.folder, options.camera, options.false_alarms)
    print("\n".join(learnt.lines()))
    return 0


def calibrate(options: argparse.Namespace) -> int:
    from lineside.edge.station_file import load_config
    from lineside.edge.tuning.calibrate import calibrate
    from lineside.edge.tuning.calibration_report import lines
    from lineside.runtime.inspection.calibration import Costs

    if (options.folder is None) == (options.commands is None):
        return fail("name a folder of labelled pictures, or --commands and a file of labelled sentences", 2)
    if options.commands is not None:
        from lineside.edge.command_line.devices import with_known_devices
        from lineside.edge.tuning.calibrate_commands import calibrate_commands

        config = with_known_devices(load_config(options.station))
        print("\n".join(calibrate_commands(config, options.commands).lines()))
        return 0
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
    from lineside.edge.demo.scene import NAME

    summary = run_demo(_demo_station(options.station), options.broker, options.output)
    if summary.results < summary.expected:
        return fail(f"incomplete: {summary.results} results of {summary.expected}", 1)
    if summary.wrong:
        return fail(f"came out otherwise than {NAME} says: {'; '.join(summary.wrong)}", 1)
    return 0


def _demo_station(named: str) -> Path:
    """A station that ships, by its name, or a station file or its folder. Raises ConfigError."""
    from lineside.edge.command_line.parser import TEMPLATES
    from lineside.edge.errors import ConfigError

    for path in (Path(named), Path(named) / "station.toml", TEMPLATES / named / "station.toml"):
        if path.is_file():
            return path
    known = ", ".join(sorted(path.parent.name for path in TEMPLATES.glob("*/station.toml")))
    raise ConfigError(f"there is no station {named!r}: name a station file, its folder, or one of {known}")
