"""The station with the tools of its devices."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pydantic import TypeAdapter

from lineside.edge.calls.policy import Policy
from lineside.edge.calls.states import States
from lineside.edge.config import Config
from lineside.edge.counters import Counters
from lineside.edge.errors import ConfigError, EdgeError
from lineside.edge.integrations.zigbee.listing import Listed, from_file
from lineside.edge.integrations.zigbee.tools import missing_features, tools_of
from lineside.edge.state_checks import state_problems
from lineside.edge.tool_config import ToolConfig

log = logging.getLogger("lineside.zigbee2mqtt")
ABOUT = "zigbee2mqtt"
"""The key of what `degraded` says of all devices; those of one have its name behind it."""


def with_devices(config: Config, listing: Mapping[str, Listed]) -> tuple[Config, dict[str, str]]:
    """The station with the tools of the devices that it names, and, by key, a sentence for what is not offered.

    Raises:
        ConfigError: `[tools.NAME]` cannot be laid over the tool of a device.
    """
    section, problems = config.zigbee2mqtt, dict[str, str]()
    tools: dict[str, ToolConfig] = {}
    for name in section.devices:
        key = f"{ABOUT}.devices.{name}"
        if name not in listing:
            if listing:
                problems[key] = f"{key} is not offered: Zigbee2MQTT lists no device and no group of that name"
            continue
        tools |= tools_of(listing[name], section, config.commands.expiry_s)
        if missing := missing_features(listing[name], section):
            problems[key] = f"{key}: {', '.join(missing)} cannot be offered: the device exposes no such feature"
    for name, table in section.tools.items():
        tools[name] = _changed(name, tools.get(name), table, known=bool(listing))
    tools = {name: tool for name, tool in tools.items() if tool.description}
    taken = sorted(tools.keys() & (config.tools.keys() | config.cameras.keys()))
    if taken:
        raise ConfigError(f"`{taken[0]}` is the name of a tool of Zigbee2MQTT: give the device another `name`")
    _check(config, tools)
    return replace(config, tools={**config.tools, **tools}), problems


def _changed(name: str, made: ToolConfig | None, table: Mapping[str, Any], *, known: bool) -> ToolConfig:
    """A device's tool with what the station file says of it; a tool of its own where there is no such one.

    Where nothing is known of the devices yet, one that says not enough is left out: it has no description.
    """
    own = TypeAdapter(ToolConfig).validate_python({"description": "", **table})
    if made is None:
        if known and "description" not in table:
            raise ConfigError(
                f"`tools.{name}` has no `description`, and no device of Zigbee2MQTT has such a tool to be changed"
            )
        return own
    return replace(made, **{key: getattr(own, key) for key in table})


def _check(config: Config, tools: Mapping[str, ToolConfig]) -> None:
    """What the station file changes may not fit. Raises ConfigError."""
    for name in config.zigbee2mqtt.tools.keys() & tools.keys():
        for _, problem in state_problems(tools, name, config.base_topic):
            raise ConfigError(problem)
        if tools[name].confirm_s > config.commands.expiry_s:
            raise ConfigError(f"`tools.{name}.confirm_s` is longer than a command lives: raise `commands.expiry_s`")
    Policy(tools, config.station.timezone)
    States(tools, Counters())


def with_kept_devices(config: Config) -> tuple[Config, list[str]]:
    """The station with the devices of its last start, for those who ask no broker; and what is not known.

    Raises:
        ConfigError: as `with_devices`.
    """
    if not config.zigbee2mqtt.devices:
        return config, []
    listing, why = kept_listing(config)
    config, problems = with_devices(config, listing)
    return config, [*([f"the devices of zigbee2mqtt are not known: {why}"] if why else []), *problems.values()]


def kept_listing(config: Config) -> tuple[dict[str, Listed], str]:
    """What the last start has kept, and why there is nothing."""
    path = config.zigbee_path
    try:
        listing = from_file(path.read_bytes(), config.zigbee2mqtt.base_topic)
    except FileNotFoundError:
        return {}, f"no start has kept them in {path} yet; `lineside run` does"
    except OSError as error:
        return {}, f"{path} cannot be read ({error.strerror})"
    except EdgeError as error:
        return {}, f"{path}: {error}"
    return listing, "" if listing else f"those in {path} are of another base topic"
