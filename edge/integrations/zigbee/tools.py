"""The tools of a device: a function for what can be set, a question for what can be read."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace

from lineside.edge.integrations.zigbee.choices import choice_tools, choice_words
from lineside.edge.integrations.zigbee.device import Device
from lineside.edge.integrations.zigbee.features import Feature, features_of
from lineside.edge.integrations.zigbee.listing import Listed
from lineside.edge.integrations.zigbee.numbers import number_tool, shown
from lineside.edge.integrations.zigbee.sentences import IS, WORDS, measured, with_names
from lineside.edge.tool_config import PhraseConfig, StateConfig
from lineside.edge.zigbee_config import Zigbee2MqttConfig, ZigbeeToolConfig

CONFIRM_S = 30.0
GUARDED = re.compile(
    r"(?<!out)(?<!in)doors?\b|\bgates?\b|\bentrance\b|\bbarrier|\block|garage|garaje"
    r"|t(ü|ue)r(e|en)?\b|\btur\b|(tür|tuer|tor)(öffner|oeffner|antrieb|schlo(ss|ß))|\bschlo(ss|ß)|schranke"
    r"|\b(garten|garagen|hof|roll|schiebe|schwing|sektional|einfahrts?|haus)?tore?\b"
    r"|\bportes?\b|\bportail|\bserrure|\bpuerta|\bport[oó]n|\bcerradura|\bverja",
    re.IGNORECASE,
)
"""In a name or a description: what it moves lets people in, or hits them."""
ASKED = {"contact": "open", "occupancy": "occupancy", "presence": "occupancy", "local_temperature": "temperature"}
"""What a feature is asked for as, where that is not its name."""
DONE = {"close": "closed", "lock": "locked", "unlock": "unlocked"}
"""How what was done is called when it is the state."""


def tools_of(listed: Listed, config: Zigbee2MqttConfig, expiry_s: float) -> dict[str, ZigbeeToolConfig]:
    """Every tool of a device, by its name in this station.

    Args:
        expiry_s: how long a command lives: no confirmation may take longer.
    """
    settings = config.devices[listed.name]
    named = " ".join((listed.name, listed.about, *settings.words)).replace("_", " ")
    device = Device(
        listed.name,
        f"{config.base_topic}/{listed.name}",
        (re.sub(r"[_/]+", " ", listed.name), *settings.words),
        bool(GUARDED.search(named)),
        min(CONFIRM_S, expiry_s),
    )
    prefix, found, spoken = config.prefix(listed.name), dict[str, ZigbeeToolConfig](), set[str]()
    for feature in features_of(listed):
        if feature.property in settings.features or not (settings.features or feature.minor):
            for name, tool in _tools(device, feature):
                found[name.format(prefix)] = _unspoken(tool, spoken)
    return found


def missing_features(listed: Listed, config: Zigbee2MqttConfig) -> list[str]:
    """Those that the station file names and that the device has not, or that cannot be tools."""
    known = {feature.property for feature in features_of(listed)}
    return [name for name in config.devices[listed.name].features if name not in known]


def _unspoken(tool: ZigbeeToolConfig, spoken: set[str]) -> ZigbeeToolConfig:
    """Without the phrases that another tool of the device has already."""
    kept: list[str | PhraseConfig] = []
    for phrase in tool.phrases:
        said = phrase if isinstance(phrase, str) else str(phrase.say)
        if said not in spoken:
            kept.append(phrase)
    spoken.update(phrase if isinstance(phrase, str) else str(phrase.say) for phrase in kept)
    return replace(tool, phrases=tuple(kept))


def _tools(device: Device, feature: Feature) -> Iterator[tuple[str, ZigbeeToolConfig]]:
    """By names in which the device's own has still to be put."""
    if feature.settable and feature.kind == "numeric":
        yield f"set_{{}}_{feature.property}", number_tool(device, feature)
    elif feature.settable:
        yield from choice_tools(device, feature)
    if feature.readable:
        yield f"read_{{}}_{feature.property}", _question(device, feature)


def _question(device: Device, feature: Feature) -> ZigbeeToolConfig:
    """It is answered by what the device said last."""
    if feature.kind == "numeric":
        value, unit = shown(feature)
    else:
        words = choice_words(feature)
        pairs = ", ".join(f"{literal}: {json.dumps(DONE.get(word, word))}" for word, literal in words.items())
        value, unit = f'{{{{ {{{pairs}}}[value_json["{feature.property}"]] }}}}', ""
    label = "" if feature.name == "state" else f", {feature.label.lower()}"
    return ZigbeeToolConfig(
        description=f"Say {device.about(feature)}.",
        query=f"{device.called(feature)}{label}: {{{{ state }}}} {unit}".strip(),
        state=StateConfig(device.topic, value),
        read_only=True,
        phrases=with_names(_asked(feature), device.names_of(feature)),
        device=device.name,
    )


def _asked(feature: Feature) -> tuple[str, ...]:
    if feature.kind != "numeric":
        kind = {"cover": "open", "lock": "locked"}.get(feature.of, ASKED.get(feature.name, ""))
        kind = kind or ("on" if feature.of in ("light", "switch", "fan") and feature.name == "state" else "")
        return IS.get(kind, ()) if feature.name in ("state", *ASKED) else ()
    name = ASKED.get(feature.name, feature.name)
    return measured(name) if name in WORDS else IS.get(name, ())
