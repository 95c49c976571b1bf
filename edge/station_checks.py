"""What is wrong with a station file besides the types of its values. No engine is loaded for it."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from importlib.util import find_spec
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from lineside.edge.broker_checks import Key, Problem, broker_problems
from lineside.edge.camera_config import CameraConfig
from lineside.edge.config import NAME, STATION, Config
from lineside.edge.errors import ConfigError
from lineside.edge.home_assistant_checks import home_assistant_problems
from lineside.edge.http_checks import http_problems
from lineside.edge.kuksa_checks import kuksa_problems
from lineside.edge.mcp_checks import mcp_problems
from lineside.edge.output_checks import output_problems
from lineside.edge.quiet_hours import parse_quiet_hours
from lineside.edge.safety_checks import safety_problems
from lineside.edge.sparkplug_checks import sparkplug_problems
from lineside.edge.state_checks import state_problems
from lineside.edge.tool_config import ToolConfig
from lineside.edge.trigger_checks import trigger_problems
from lineside.edge.zigbee_checks import zigbee_problems
from lineside.runtime.defaults import SMALLEST_SIDE
from lineside.runtime.errors import BundleError


def problems_of(config: Config, said: AbstractSet[Key]) -> Iterator[Problem]:
    """Every mistake; `said` are the keys of sections that the file or a variable sets."""
    yield from broker_problems(config)
    yield from _station(config)
    yield from _model(config, said)
    if config.inspect.pass_below > config.inspect.fail_above:
        yield ("inspect", "pass_below"), "`inspect.pass_below` must not be above `inspect.fail_above`"
    if not config.inspect.defect_types:
        yield ("inspect", "defect_types"), "`inspect.defect_types` is empty: name at least one kind of defect"
    yield from _defect_types(("inspect",), config.inspect.defect_types)
    yield from _examples(config, ("inspect",), config.inspect.examples)
    if config.inspect.template and not config.resolve(config.inspect.template).is_file():
        sentence = f"`inspect.template`: {config.resolve(config.inspect.template)} is not a file"
        yield ("inspect", "template"), sentence
    for section, names in (("cameras", config.cameras), ("tools", config.tools)):
        for name in names:
            if not re.fullmatch(NAME, name):
                yield (section, name), f"`{section}.{name}`: a name has letters, digits, _ and - only"
    for section, names in (("cameras", config.cameras), ("tools", config.tools)):
        if STATION in names:
            yield (section, STATION), f"`{section}.{STATION}` would speak on event/{STATION}, where the station does"
    for name in config.cameras.keys() & config.tools.keys():
        yield ("tools", name), f"`tools.{name}` has the name of a camera: both would speak on event/{name}"
    for name, camera in config.cameras.items():
        yield from _camera(config, name, camera)
    for name, tool in config.tools.items():
        yield from _tool(config, ("tools", name), tool)
        yield from state_problems(config.tools, name, config.base_topic)
    yield from safety_problems(config)
    yield from kuksa_problems(config)
    yield from trigger_problems(config)
    yield from mcp_problems(config)
    yield from http_problems(config)
    yield from zigbee_problems(config)
    yield from sparkplug_problems(config)
    yield from home_assistant_problems(config)
    yield from output_problems(config)
    for server, settings in config.mcp.items():
        for name, tool in settings.tools.items():
            yield from _tool(config, ("mcp", server, "tools", name), tool)


def _station(config: Config) -> Iterator[Problem]:
    if re.search(r"[#+\x00]|^[$/]|/$|//", config.base_topic):
        yield ("station", "base_topic"), f"`station.base_topic` {config.base_topic!r} is not a plain topic"
    if re.search(r"[#+\x00]|^[$/]|/$|//", config.group.base_topic):
        yield ("group", "base_topic"), f"`group.base_topic` {config.group.base_topic!r} is not a plain topic"
    if config.group.base_topic and not config.group.name:
        yield ("group", "base_topic"), "`group.base_topic` without `group.name`: the station is in no group"
    if config.group_topic == config.base_topic:
        yield ("group", "base_topic"), "`group.base_topic` is the station's own: the group has topics of its own"
    if zone := config.station.timezone:
        try:
            ZoneInfo(zone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            yield ("station", "timezone"), f"`station.timezone` {zone!r} is not known: Europe/Berlin would be right"
    folder = config.store_path.parent
    if folder != config.data_path and not folder.is_dir():
        yield ("store", "path"), f"`store.path`: {folder} is not a folder"


def _model(config: Config, said: AbstractSet[Key]) -> Iterator[Problem]:
    if config.commands.bundle:
        yield from _commands_bundle(config)
    if config.installed is None and not {("model", "bundle"), ("model", "capacity")} & said:
        return
    from lineside.runtime.bundle import read_manifest  # a tenth of the time that a plain station file takes

    try:
        context = read_manifest(config.bundle_path).context_length
    except BundleError as error:
        named = "`model.bundle`" if config.installed is None else "the installed model (`lineside model rollback`)"
        yield ("model", "bundle"), f"{named}: {error}"
        return
    if ("model", "capacity") in said and config.model.capacity > context:
        capacity = f"`model.capacity` {config.model.capacity}"
        yield ("model", "capacity"), f"{capacity} is more than the model's context, which has {context} tokens"


def _commands_bundle(config: Config) -> Iterator[Problem]:
    from lineside.runtime.bundle import read_manifest

    try:
        read_manifest(config.commands_bundle_path)
    except BundleError as error:
        yield ("commands", "bundle"), f"`commands.bundle`: {error}"


def _defect_types(above: Key, kinds: Sequence[str]) -> Iterator[Problem]:
    name, key = ".".join((*above, "defect_types")), (*above, "defect_types")
    if any(not kind.strip() for kind in kinds):
        yield key, f"`{name}` has an empty one"
    for kind, count in Counter(kind.strip() for kind in kinds if kind.strip()).items():
        if count > 1:
            yield key, f"`{name}` has {kind!r} {count} times"


def _examples(config: Config, above: Key, folder: str) -> Iterator[Problem]:
    if folder and not config.resolve(folder).is_dir():
        name = ".".join((*above, "examples"))
        yield (*above, "examples"), f"`{name}`: {config.resolve(folder)} is not a folder"


def _camera(config: Config, name: str, camera: CameraConfig) -> Iterator[Problem]:
    above = ("cameras", name)
    yield from _defect_types(above, camera.defect_types)
    yield from _examples(config, above, camera.examples)
    path, key = config.resolve(camera.source), f"`cameras.{name}.source`"
    if camera.kind not in ("mqtt", "genicam") and not camera.source:
        yield (*above, "kind"), f"{key} is missing: a camera of kind {camera.kind} plays it"
    elif camera.kind == "folder" and not path.is_dir():
        yield (*above, "source"), f"{key}: {path} is not a folder"
    elif camera.kind == "video" and _is_file_name(camera.source) and not path.is_file():
        yield (*above, "source"), f"{key}: {path} is not a file; an address has ://, a device is a number"
    if camera.kind == "genicam" and find_spec("harvesters") is None:
        yield (*above, "kind"), f"`cameras.{name}.kind` needs another package: pip install 'lineside[genicam]'"
    yield from _wire(above, camera)
    if camera.watch and (camera.kind != "folder" or camera.loop):
        yield (*above, "watch"), f"`cameras.{name}.watch` is for a camera of kind folder that does not `loop`"
    if camera.region is not None and (min(camera.region[:2]) < 0 or min(camera.region[2:]) < 1):
        said = f"`cameras.{name}.region` {list(camera.region)} is not [x, y, width, height] in pixels of the frame"
        yield (*above, "region"), said
    if 0 < camera.max_side < SMALLEST_SIDE:
        said = f"`cameras.{name}.max_side` {camera.max_side} is below {SMALLEST_SIDE}; 0 for as many as the model takes"
        yield (*above, "max_side"), said
    if camera.reference and not config.resolve(camera.reference).is_file():
        yield (*above, "reference"), f"`cameras.{name}.reference`: {config.resolve(camera.reference)} is not a file"
    if camera.schema:
        yield from _schema((*above, "schema"), config.resolve(camera.schema))


def _wire(above: Key, camera: CameraConfig) -> Iterator[Problem]:
    """Keys that a camera of this kind would not follow."""
    default, name = CameraConfig(camera.kind), ".".join(above)
    device = camera.kind == "video" and "://" not in camera.source and not _is_file_name(camera.source)
    follows = {
        "size": device,
        "fps": device,
        "exposure_ms": device or camera.kind == "genicam",
        "producer": camera.kind == "genicam",
        "hardware_trigger": camera.kind == "genicam",
    }
    for key, good in follows.items():
        if not good and getattr(camera, key) != getattr(default, key):
            kinds = "genicam" if key in ("producer", "hardware_trigger") else "video, of a device such as /dev/video0"
            kinds += " or genicam" if key == "exposure_ms" else ""
            yield (*above, key), f"`{name}.{key}` is for a camera of kind {kinds}: take the key out"
    if camera.part_id_pattern:
        try:
            groups = re.compile(camera.part_id_pattern).groups
        except re.error as error:
            yield (*above, "part_id_pattern"), f"`{name}.part_id_pattern` is not a regular expression ({error})"
        else:
            if not groups:
                said = f"`{name}.part_id_pattern` has no group: put what is the part into ( )"
                yield (*above, "part_id_pattern"), said


def _is_file_name(source: str) -> bool:
    """A stream or a device may come later."""
    return "://" not in source and not source.isdigit() and not source.startswith("/dev/")


def _schema(key: Key, path: Path) -> Iterator[Problem]:
    try:
        json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        yield key, f"`{'.'.join(key)}`: {path} cannot be read ({error.strerror})"
    except (ValueError, RecursionError) as error:
        yield key, f"`{'.'.join(key)}`: {path} is not JSON ({error})"


def _tool(config: Config, above: Key, tool: ToolConfig) -> Iterator[Problem]:
    key = ".".join(above)
    if tool.publish is not None and tool.python:
        yield above, f"`{key}` has both `publish` and `python`: a call does one thing"
    for span in tool.quiet_hours:
        try:
            parse_quiet_hours(span, f"{key}.quiet_hours")
        except ConfigError as error:
            yield (*above, "quiet_hours"), str(error)
    if tool.confirm_s > config.commands.expiry_s:
        sentence = f"`{key}.confirm_s` is longer than a command lives: raise `commands.expiry_s`"
        yield (*above, "confirm_s"), sentence
    if not tool.parameters:
        return  # those of its server, which are not known here
    known = tool.parameters.get("properties", {})
    for argument in tool.limits:
        if isinstance(known, dict) and argument not in known:
            there = ", ".join(known) or "none"
            yield (*above, "limits", argument), f"`{key}.limits.{argument}`: no such argument; the tool has {there}"
