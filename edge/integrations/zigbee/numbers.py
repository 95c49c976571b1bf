"""Features that are a number: brightness in percent, white in kelvin, positions, temperatures, and others."""

from __future__ import annotations

import math
from typing import Any

from lineside.edge.integrations.zigbee import sentences
from lineside.edge.integrations.zigbee.device import Device
from lineside.edge.integrations.zigbee.features import Feature
from lineside.edge.tool_config import PhraseConfig, PublishConfig, StateConfig
from lineside.edge.zigbee_config import ZigbeeToolConfig

MIREDS = 1_000_000
"""Divided by kelvin, and by mired."""
MIREDS_OFF = 2
BRIGHTEST = 254.0
COOLEST, WARMEST = 153.0, 500.0
"""In mired, where the device does not say its own."""
COLDEST_C, HOTTEST_C = 5.0, 30.0


def number_tool(device: Device, feature: Feature) -> ZigbeeToolConfig:
    """What sets it."""
    if feature.of == "light" and feature.name == "brightness":
        return _brightness(device, feature)
    if feature.of == "light" and feature.name == "color_temp":
        return _white(device, feature)
    if feature.of == "cover" and feature.name in ("position", "tilt"):
        phrases = _setting(device, feature, "position", "percent", sentences.PERCENT)
        return _plain(device, feature, "percent", phrases if feature.name == "position" else ())
    if feature.of == "climate" and feature.name.endswith("_setpoint"):
        return _setpoint(device, feature)
    return _plain(device, feature, "number", ())


def shown(feature: Feature) -> tuple[str, str]:
    """How an answer reads the state, and the unit that stands behind it."""
    place = f'value_json["{feature.property}"]'
    if feature.of == "light" and feature.name == "brightness":
        return f"{{{{ ({place} * 100 / {feature.high or BRIGHTEST:g}) | round | int }}}}", "%"
    if feature.of == "light" and feature.name == "color_temp":
        return f"{{{{ ({MIREDS} / {place}) | round | int }}}}", "K"
    return f"{{{{ {place} }}}}", "%" if feature.of == "cover" else feature.unit


def _brightness(device: Device, feature: Feature) -> ZigbeeToolConfig:
    names, most = device.names_of(feature), feature.high or BRIGHTEST
    phrases = _setting(device, feature, "brightness", "percent", sentences.PERCENT)
    return ZigbeeToolConfig(
        description=f"Set {device.about(feature)} in percent.",
        parameters=_parameters("percent", {"type": "integer", "minimum": 1, "maximum": 100}),
        publish=PublishConfig(
            device.set_topic, {feature.property: f"{{{{ (percent * {most:g} / 100) | round | int }}}}"}
        ),
        state=_state(device, feature, shown(feature)[0], "{{ percent }}", 1),
        step={"percent": 10},
        phrases=(*phrases, *sentences.with_names(sentences.DIM, names)),
        **device.of_action(feature),
    )


def _white(device: Device, feature: Feature) -> ZigbeeToolConfig:
    """The device is told mired, people say kelvin."""
    coolest, warmest = feature.low or COOLEST, feature.high or WARMEST
    least, most = math.ceil(MIREDS / warmest), math.floor(MIREDS / coolest)
    names, told = device.names_of(feature), f"{{{{ ({MIREDS} / kelvin) | round | int }}}}"
    presets = [
        PhraseConfig(
            sentences.with_names((text.replace("<WHITE>", white) for text in sentences.MAKE), names),
            {"kelvin": min(max(round(MIREDS / feature.presets[preset]), least), most)},
        )
        for preset, white in sentences.WHITES.items()
        if feature.presets.get(preset) and names
    ]
    return ZigbeeToolConfig(
        description=f"Set {device.about(feature)} in kelvin.",
        parameters=_parameters("kelvin", {"type": "integer", "minimum": least, "maximum": most}),
        publish=PublishConfig(device.set_topic, {feature.property: told}),
        state=_state(device, feature, f'{{{{ value_json["{feature.property}"] }}}}', told, MIREDS_OFF),
        phrases=(*_setting(device, feature, "color_temp", "kelvin", "kelvin", unit_needed=True), *presets),
        **device.of_action(feature),
    )


def _setpoint(device: Device, feature: Feature) -> ZigbeeToolConfig:
    names, fahrenheit = device.names_of(feature), "degrees fahrenheit|fahrenheit|grad fahrenheit"
    schema: dict[str, Any] = {"type": "number", "minimum": COLDEST_C, "maximum": HOTTEST_C} | _bounds(feature)
    told = _in_steps("temperature", feature)
    own = _setting(device, feature, "setpoint", "temperature", sentences.DEGREES)
    other = sentences.setting("setpoint", "temperature", fahrenheit, unit_needed=True)
    phrase = PhraseConfig(sentences.with_names(other, names), units={"temperature": "degF"}) if names else None
    return ZigbeeToolConfig(
        description=f"Set {device.about(feature)} in degrees Celsius.",
        parameters=_parameters("temperature", schema),
        units={"temperature": "degC"},
        publish=PublishConfig(device.set_topic, {feature.property: told}),
        state=_state(device, feature, shown(feature)[0], told, (feature.step or 0.5) / 2),
        step={"temperature": feature.step or 0.5},
        phrases=(*own, *([phrase] if phrase is not None else [])),
        **device.of_action(feature),
    )


def _plain(device: Device, feature: Feature, argument: str, phrases: tuple[str, ...]) -> ZigbeeToolConfig:
    unit = f" in {feature.unit}" if feature.unit else ""
    whole = all(value is None or float(value).is_integer() for value in (feature.low, feature.high, feature.step))
    told = _in_steps(argument, feature)
    kind = "integer" if whole and feature.high is not None else "number"
    return ZigbeeToolConfig(
        description=f"Set {device.about(feature)}{' in percent' if argument == 'percent' else unit}.",
        parameters=_parameters(argument, {"type": kind} | _bounds(feature)),
        publish=PublishConfig(device.set_topic, {feature.property: told}),
        state=_state(device, feature, shown(feature)[0], told, (feature.step or 1) / 2),
        phrases=phrases,
        **device.of_action(feature),
    )


def _state(device: Device, feature: Feature, value: str, expect: str, within: float) -> StateConfig | None:
    return StateConfig(device.topic, value, expect, within) if feature.readable else None


def _bounds(feature: Feature) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, bound in (("minimum", feature.low), ("maximum", feature.high)):
        if bound is not None:
            found[key] = int(bound) if float(bound).is_integer() else bound
    return found


def _in_steps(argument: str, feature: Feature) -> str:
    """What the device is told: the nearest value that it takes."""
    low, step = feature.low or 0, feature.step
    if not step or step == 1:
        return f"{{{{ {argument} }}}}"
    decimals = len(f"{step:.6f}".rstrip("0").partition(".")[2])
    return f"{{{{ ({low} + (({argument} - {low}) / {step}) | round * {step}) | round({decimals}) }}}}"


def _parameters(argument: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": {argument: schema}, "required": [argument], "additionalProperties": False}


def _setting(
    device: Device, feature: Feature, name: str, argument: str, unit: str, *, unit_needed: bool = False
) -> tuple[str, ...]:
    patterns = sentences.setting(name, argument, unit, unit_needed=unit_needed)
    return sentences.with_names(patterns, device.names_of(feature))
