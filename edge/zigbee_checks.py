"""What is wrong with the devices of Zigbee2MQTT in a station file, for `lineside check`. No broker is asked."""

from __future__ import annotations

import re
from collections.abc import Iterator

from pydantic import TypeAdapter, ValidationError

from lineside.edge.config import NAME, Config
from lineside.edge.file_schema import FileSchema
from lineside.edge.mistakes import read_mistakes
from lineside.edge.tool_config import ToolConfig
from lineside.edge.topic_choice import is_plain

Problem = tuple[tuple[str, ...], str]
"""A key, and a sentence that names it."""
LONGEST_PREFIX = 32
"""Behind it stands the feature, and a tool's name has 64 characters."""


def zigbee_problems(config: Config) -> Iterator[Problem]:
    """Every mistake there."""
    section = config.zigbee2mqtt
    if not is_plain(section.base_topic):
        yield ("zigbee2mqtt", "base_topic"), f"`zigbee2mqtt.base_topic` {section.base_topic!r} is not a plain topic"
    elif section.devices and f"{section.base_topic}/".startswith(f"{config.base_topic}/"):
        yield (
            ("zigbee2mqtt", "base_topic"),
            "`zigbee2mqtt.base_topic` is below the station's own: name that of Zigbee2MQTT",
        )
    taken: dict[str, str] = {}
    for name in section.devices:
        key, place = ("zigbee2mqtt", "devices", name), f"`zigbee2mqtt.devices.{name}`"
        prefix = section.prefix(name)
        if not is_plain(name):
            yield key, f"{place} is no friendly name: +, # and {{}} cannot stand in one"
        if not prefix or not re.fullmatch(NAME, prefix) or len(prefix) > LONGEST_PREFIX:
            said = f"{prefix!r} cannot be a part of a tool's name: give it a `name` of at most {LONGEST_PREFIX} letters"
            yield (*key, "name"), f"{place}: {said}, digits and _"
        elif prefix in taken:
            yield (*key, "name"), f"{place} would have the tools of {taken[prefix]!r}: give one of them another `name`"
        taken[prefix] = name
    adapter = TypeAdapter(ToolConfig)
    for name, table in section.tools.items():
        try:
            adapter.validate_python({"description": "-"} | table)
        except ValidationError as error:
            for mistake in read_mistakes(error, FileSchema(adapter), table, ("tools", name)):
                yield ("tools", name, *mistake.key), mistake.sentence
