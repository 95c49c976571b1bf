"""What the station file says about the devices of Zigbee2MQTT that become tools."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import field
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field
from pydantic.dataclasses import dataclass

from lineside.edge.tool_config import STRICT, ToolConfig


def _as_table(devices: Any) -> Any:
    """A list of friendly names is a table of them."""
    texts = isinstance(devices, list | tuple) and all(isinstance(name, str) for name in devices)
    return {name: {} for name in devices} if texts else devices


@dataclass(frozen=True, config=STRICT)
class ZigbeeDeviceConfig:
    """`[zigbee2mqtt.devices.FRIENDLY_NAME]`: a device or a group, by the friendly name that it has there."""

    name: str = ""
    """What stands for it in the names of its tools, as in `set_NAME_brightness`; made of the friendly name where it is
    empty."""
    words: tuple[str, ...] = ()
    """What people call it, in any language, besides its friendly name."""
    features: tuple[str, ...] = ()
    """The features that are offered, by their `property`; where it is empty, all that are not for settings or
    diagnosis."""


@dataclass(frozen=True, config=STRICT)
class Zigbee2MqttConfig:
    """Devices of Zigbee2MQTT as tools. Nothing of a device is offered that is not named."""

    base_topic: Annotated[str, Field(min_length=1)] = "zigbee2mqtt"
    """The `base_topic` of Zigbee2MQTT's own configuration."""
    start_s: Annotated[float, Field(gt=0, le=60)] = 5.0
    """How many seconds the station waits at its start for the list of devices."""
    devices: Annotated[dict[str, ZigbeeDeviceConfig], BeforeValidator(_as_table)] = field(default_factory=dict)
    """The devices and groups that are offered: a list of friendly names, or a table for each."""
    tools: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What is changed of their tools. It is written as `[tools.NAME]`, with the keys of that table."""

    def prefix(self, friendly_name: str) -> str:
        """What stands for a device in the names of its tools."""
        return self.devices[friendly_name].name or plain_name(friendly_name)


@dataclass(frozen=True, config=STRICT)
class ZigbeeToolConfig(ToolConfig):
    """A tool that was made of a device's feature."""

    device: str = ""
    """The friendly name."""

    @property
    def binding(self) -> Literal["query", "python", "zigbee2mqtt"]:
        if self.query:
            return "query"
        return "python" if self.python else "zigbee2mqtt"


def plain_name(text: str) -> str:
    """A friendly name as a part of a tool's name: `kitchen/floor lamp` is `kitchen_floor_lamp`."""
    plain = unicodedata.normalize("NFKD", text.replace("ß", "ss")).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "_", plain.lower()).strip("_")


def move_overrides(data: Mapping[str, Any]) -> None:
    """Tables `[tools.NAME]` of a station file that change a device's tool go to `zigbee2mqtt.tools`: what is changed is
    known when the devices are."""
    tools, section = data.get("tools"), data.get("zigbee2mqtt")
    devices = _as_table(section.get("devices")) if isinstance(section, dict) else None
    if not isinstance(tools, dict) or not isinstance(section, dict) or not isinstance(devices, dict):
        return
    prefixes = [_prefix(name, table) for name, table in devices.items()]
    moved = [name for name in tools if isinstance(tools[name], dict) and _is_tool(name, prefixes)]
    if moved:
        section["tools"] = {name: tools.pop(name) for name in moved}


def _prefix(friendly_name: str, table: Any) -> str:
    name = table.get("name") if isinstance(table, dict) else ""
    return name if isinstance(name, str) and name else plain_name(friendly_name)


def _is_tool(name: str, prefixes: list[str]) -> bool:
    kind, _, rest = name.partition("_")
    return kind in ("set", "read") and any(rest.startswith(f"{prefix}_") for prefix in prefixes)
