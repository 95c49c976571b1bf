"""The features of a device, out of its `exposes`: what can be set, what can be read, and in which range."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from lineside.edge.integrations.zigbee.listing import SPECIFIC, Listed

PUBLISHED, SET = 0b001, 0b010
"""Bits of `access`."""
PROPERTY = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,31}")
VALUE = re.compile(r"[\w .:/+-]{1,40}")
"""What a text may be that goes into a template and in front of the model."""
MAX_VALUES, MAX_WORDS = 24, 60
NOISE = ("linkquality", "update", "update_available")
Kind = Literal["binary", "numeric", "enum"]


@dataclass(frozen=True)
class Feature:
    """One thing of a device that can be set or read.

    Attributes:
        of: `light`, `switch`, `cover`, `lock`, `fan` or `climate`, where it is a part of one; else empty.
        name: what it is; `property` is where its value stands, with the endpoint behind it where there are several.
        minor: of use for settings or diagnosis alone.
        values: of a binary those for on and off, of an enum all.
        low, high: of a number; None where nothing is said.
        presets: names of particular numbers.
    """

    of: str
    kind: Kind
    name: str
    property: str
    label: str
    settable: bool
    readable: bool
    minor: bool
    endpoint: str = ""
    values: tuple[Any, ...] = ()
    low: float | None = None
    high: float | None = None
    step: float | None = None
    unit: str = ""
    presets: Mapping[str, float] = field(default_factory=dict)


def features_of(device: Listed) -> tuple[Feature, ...]:
    """In the device's own order. What is neither a yes-or-no, a number nor a choice is left out, as are colours."""
    found: dict[str, Feature] = {}
    for expose in device.exposes:
        kind = expose.get("type")
        parts = expose.get("features") if kind in SPECIFIC else [expose]
        for part in parts if isinstance(parts, Sequence) else ():
            if isinstance(part, Mapping):
                for feature in _feature(str(kind) if kind in SPECIFIC else "", expose, part):
                    found.setdefault(feature.property, feature)
    return tuple(found.values())


def _feature(of: str, above: Mapping[str, Any], part: Mapping[str, Any]) -> Iterator[Feature]:
    kind, name, place, access = part.get("type"), part.get("name"), part.get("property"), part.get("access")
    if kind not in ("binary", "numeric", "enum") or not isinstance(name, str) or not isinstance(access, int):
        return
    if not isinstance(place, str) or not PROPERTY.fullmatch(place):
        return
    values = _values(kind, part)
    if kind != "numeric" and not values:
        return
    yield Feature(
        of=of,
        kind=kind,
        name=name,
        property=place,
        label=_words(part.get("label")) or _words(name.replace("_", " ")),
        settable=bool(access & SET),
        readable=bool(access & PUBLISHED),
        minor=place in NOISE or part.get("category", above.get("category")) in ("config", "diagnostic"),
        endpoint=_words(part.get("endpoint") or above.get("endpoint")),
        values=values,
        low=_number(part.get("value_min")),
        high=_number(part.get("value_max")),
        step=_number(part.get("value_step")),
        unit=_words(part.get("unit")),
        presets=dict(_presets(part.get("presets"))),
    )


def _values(kind: Any, part: Mapping[str, Any]) -> tuple[Any, ...]:
    """Nothing where one of them is not to be trusted in a template."""
    values = [part.get("value_on"), part.get("value_off")] if kind == "binary" else part.get("values")
    if kind == "numeric" or not isinstance(values, list) or not 0 < len(values) <= MAX_VALUES:
        return ()
    fit = all(isinstance(value, bool) or (isinstance(value, str) and VALUE.fullmatch(value)) for value in values)
    return tuple(values) if fit and len(set(values)) == len(values) else ()


def _presets(presets: Any) -> Iterator[tuple[str, float]]:
    for preset in presets if isinstance(presets, list) else ():
        if isinstance(preset, Mapping) and (number := _number(preset.get("value"))) is not None:
            yield str(preset.get("name")), number


def _number(value: Any) -> float | None:
    ordinary = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return value if ordinary else None


def _words(text: Any) -> str:
    """A few words of a stranger's, without what means something in a template or a phrase."""
    return " ".join(re.sub(r"[^\w %°/.³²µ-]", " ", text).split())[:MAX_WORDS] if isinstance(text, str) else ""
