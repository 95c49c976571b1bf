"""Features that are a yes-or-no or one of several: switches, covers, locks, modes."""

from __future__ import annotations

import json
import keyword
from collections.abc import Iterator, Mapping
from dataclasses import replace

from lineside.edge.integrations.zigbee import sentences
from lineside.edge.integrations.zigbee.device import Device
from lineside.edge.integrations.zigbee.features import PROPERTY, Feature
from lineside.edge.tool_config import PhraseConfig, PublishConfig, StateConfig
from lineside.edge.zigbee_config import ZigbeeToolConfig

STATE = "state"
STOP, MOMENTARY = "STOP", ("STOP", "TOGGLE")
RESERVED = ("self", "loop", "true", "false", "none")
SPOKEN: Mapping[str, Mapping[str, sentences.Patterns]] = {
    "light": {"on": sentences.ON, "off": sentences.OFF},
    "switch": {"on": sentences.ON, "off": sentences.OFF},
    "fan": {"on": sentences.ON, "off": sentences.OFF},
    "cover": {"open": sentences.OPEN, "close": sentences.CLOSE},
    "lock": {"lock": sentences.LOCK, "unlock": sentences.UNLOCK},
}
TRUTH: Mapping[str, tuple[str, str]] = {"contact": ("closed", "open")}
"""What true and false are called, where that is not yes and no."""


def choice_words(feature: Feature) -> dict[str, str]:
    """What people say for each value, and the value as a template writes it: `{"on": '"ON"', "off": '"OFF"'}`."""
    yes, no = TRUTH.get(feature.name, ("on", "off") if feature.settable else ("yes", "no"))
    called = {True: yes, False: no, "ON": "on", "OFF": "off"}
    values = [value for value in feature.values if value not in MOMENTARY]
    texts = [called[value] if value in called else _lower(feature, str(value)) for value in values]
    return dict(zip(texts, map(json.dumps, values), strict=True)) if len(set(texts)) == len(texts) else {}


def choice_tools(device: Device, feature: Feature) -> Iterator[tuple[str, ZigbeeToolConfig]]:
    """One that sets it; and one that stops what moves, for which nobody is asked."""
    argument, words = _argument(feature), choice_words(feature)
    if words:
        told = f"{{{{ {{{', '.join(f'{json.dumps(word)}: {value}' for word, value in words.items())}}}[{argument}] }}}}"
        place = f'{{{{ value_json["{feature.property}"] }}}}'
        yield (
            f"set_{{}}_{feature.property}",
            ZigbeeToolConfig(
                description=_description(device, feature, list(words)),
                parameters=_parameters(argument, list(words)),
                publish=PublishConfig(device.set_topic, {feature.property: told}),
                state=StateConfig(device.topic, place, told) if feature.readable else None,
                phrases=_phrases(device, feature, argument),
                **device.of_action(feature),
            ),
        )
    if STOP in feature.values:
        tool = ZigbeeToolConfig(
            description=f"Stop {device.called(feature)}.",
            publish=PublishConfig(device.set_topic, {feature.property: STOP}),
            phrases=sentences.with_names(sentences.STOP, device.names_of(feature)),
            **device.of_action(feature),
        )
        yield f"set_{{}}_{feature.property}_stop", replace(tool, confirm_s=0.0)


def _description(device: Device, feature: Feature, words: list[str]) -> str:
    called = device.called(feature)
    if words == ["on", "off"] and feature.name == STATE:
        return f"Turn {called} on or off."
    if feature.of in ("cover", "lock") and feature.name == STATE:
        return f"{words[0].capitalize()} or {' or '.join(words[1:])} {called}."
    return f"Set {device.about(feature)}: {', '.join(words)}."


def _argument(feature: Feature) -> str:
    if feature.kind == "binary" or feature.name == STATE:
        return STATE
    strange = keyword.iskeyword(feature.name) or feature.name in RESERVED or not PROPERTY.fullmatch(feature.name)
    return "choice" if strange else feature.name


def _parameters(argument: str, values: list[str]) -> dict[str, object]:
    return {
        "type": "object",
        "properties": {argument: {"type": "string", "enum": values}},
        "required": [argument],
        "additionalProperties": False,
    }


def _phrases(device: Device, feature: Feature, argument: str) -> tuple[PhraseConfig, ...]:
    """What is said for each value of a well-known feature."""
    if feature.name != STATE:
        return ()
    words, names = choice_words(feature), device.names_of(feature)
    return tuple(
        PhraseConfig(sentences.with_names(patterns, names), {argument: word})
        for word, patterns in SPOKEN.get(feature.of, {}).items()
        if word in words and names
    )


def _lower(feature: Feature, value: str) -> str:
    """`OPEN` is said as `open`; the values of a mode stay what they are."""
    return value.lower() if feature.kind == "binary" or feature.of == "cover" else value
