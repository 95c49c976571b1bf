"""Intents of HWU64 and SNIPS as tools: `spoken_tools.toml` says how they may be called and described.

An intent is a tool of its own, or (`merged_tools.toml`) the value of a parameter of one tool for several intents. Names
and titles in the utterances are at times exchanged, since what is to be copied must not be learnt by heart.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from lineside.export.default_model.data import made_up
from lineside.export.default_model.data.offers import FOLDER, NUMBER_WORDS, Asked, Offer, make_tool, styled
from lineside.export.evaluation.cases import held_out_texts
from lineside.export.evaluation.intents import hwu64_slots, snips_slots

SPOKEN: Mapping[str, Any] = tomllib.loads((FOLDER / "spoken_tools.toml").read_text(encoding="utf-8"))
MERGED: Sequence[Mapping[str, Any]] = tomllib.loads((FOLDER / "merged_tools.toml").read_text(encoding="utf-8"))["tool"]
WHOLE_NUMBERS = frozenset({"party_size_number", "rating_value", "best_rating"})
CHOICES = frozenset({"house_place", "color_type", "device_type", "timeofday", "media_type", "order_type", "service",
                     "player_setting", "transport_type"})  # fmt: skip
"""Slots that are at times offered as a list of values to choose from."""
NAMES = frozenset({"artist", "album", "track", "entity_name", "playlist", "object_name", "movie_name", "location_name",
                   "restaurant_name", "city", "place_name", "business_name", "song_name", "artist_name", "entry",
                   "playlist_name", "event_name", "person", "podcast_name", "radio_name", "audiobook_name", "anywhere",
                   "game_name", "list_name", "definition_word", "food_type", "work"})  # fmt: skip
"""Slots whose values any other text could stand for."""
ENUM_ODDS, EXCHANGE_ODDS, OWN_KIND_ODDS, LEFT_OUT_ODDS, REQUIRED_ODDS = 0.4, 0.4, 0.6, 0.2, 0.35
MERGED_SLOTS_GAIN = 4
"""Of the odds, squared, for tools with one parameter for several slots, as people write them: `place`."""
TRIES = 30


@dataclass(frozen=True)
class Utterance:
    """A text, with name and value of its slots in their order."""

    text: str
    slots: tuple[tuple[str, str], ...]


@cache
def utterances(folder: Path) -> Mapping[str, tuple[Utterance, ...]]:
    """Training utterances by the tables of SPOKEN, and of the other intents; those with annotations that a table does
    not know are left out."""
    found: dict[str, list[Utterance]] = {}
    for intent, row in _read(folder):
        tables = [name for name, spec in SPOKEN.items() if spec.get("intent", name) == intent]
        for table in tables:
            kept = _renamed(row, SPOKEN[table])
            if kept is not None:
                found.setdefault(table, []).append(kept)
        if not tables:
            found.setdefault(intent, []).append(row)
    return {name: tuple(rows) for name, rows in found.items()}


def spoken_offer(folder: Path, rng: np.random.Generator) -> Offer:
    """An intent as a tool; one with many utterances is drawn more often, by their square root."""
    names, odds = _intent_odds(folder)
    name = str(rng.choice(names, p=odds))
    spec, rows = SPOKEN[name], utterances(folder)[name]
    parameters, properties = _parameters(spec["slots"], rows, rng)
    needed = [slot for slot in parameters if rng.random() < REQUIRED_ODDS]
    by_need = {count: [r for r in rows if _has(r, needed[:count])] for count in range(len(needed) + 1)}
    count = max(count for count, fitting in by_need.items() if len(fitting) > 5 or count == 0)
    tool = make_tool(
        styled(str(rng.choice(spec["names"])), rng),
        str(rng.choice(spec["about"])),
        properties,
        [parameters[slot] for slot in needed[:count]],
    )

    def say(rng: np.random.Generator, language: str) -> Asked | None:
        return _asked(by_need[count], parameters, properties, rng) if language == "en" else None

    return Offer(tool, frozenset({spec.get("intent", name)}), frozenset(spec.get("near", ())), say)


@cache
def _intent_odds(folder: Path) -> tuple[Sequence[str], Any]:
    gains = [MERGED_SLOTS_GAIN if "either" in spec else 1 for spec in SPOKEN.values()]
    weights = np.sqrt([gain * len(utterances(folder)[name]) for name, gain in zip(SPOKEN, gains, strict=True)])
    return list(SPOKEN), weights / weights.sum()


def merged_offer(folder: Path, rng: np.random.Generator) -> Offer:
    """Several intents as one tool, with a parameter that tells which."""
    spec = MERGED[int(rng.integers(len(MERGED)))]
    labels = list(spec["intents"].values())
    style = int(rng.integers(len(labels[0])))
    intents = {intent: str(values[style]) for intent, values in spec["intents"].items()}
    rows = {intent: utterances(folder)[intent] for intent in intents}
    parameters, properties = _parameters(spec["slots"], [row for some in rows.values() for row in some], rng)
    choosing = str(rng.choice(spec["parameter"]))
    choice = {"enum": [str(v) for v in rng.permutation(list(intents.values()))]}
    properties = {choosing: choice, **properties} if rng.random() < 0.6 else {**properties, choosing: choice}
    tool = make_tool(
        styled(str(rng.choice(spec["names"])), rng), str(rng.choice(spec["about"])), properties, [choosing]
    )

    def say(rng: np.random.Generator, language: str) -> Asked | None:
        intent = str(rng.choice(list(intents)))
        asked = _asked(rows[intent], parameters, properties, rng) if language == "en" else None
        if asked is None:
            return None
        arguments = {**asked[1], choosing: intents[intent]}
        return asked[0], {name: arguments[name] for name in properties if name in arguments}

    near = frozenset(other for intent in intents for other in SPOKEN[intent].get("near", ()))
    return Offer(tool, frozenset(intents), near, say)


def _read(folder: Path) -> list[tuple[str, Utterance]]:
    """Every utterance with its intent, but those that the evaluation keeps."""
    kept = held_out_texts("hwu64") | held_out_texts("snips")
    rows = []
    for source, read in (("hwu64", hwu64_slots), ("snips", snips_slots)):
        for line in (folder / f"{source}_train.jsonl").read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            text = " ".join(str(row["text"]).split())
            if text not in kept and row["text"] not in kept:
                slots = tuple((name, " ".join(value.split())) for name, value in read(row))
                rows.append((row["intent"], Utterance(text, slots)))
    return rows


def _renamed(row: Utterance, spec: Mapping[str, Any]) -> Utterance | None:
    """With its slots as a table knows them; None where it knows them not."""
    either = {slot: name for name, several in spec.get("either", {}).items() for slot in several}
    slots = tuple((either.get(n, n), v) for n, v in row.slots if n not in spec.get("ignored", ()))
    names = [name for name, _ in slots]
    known = set(names) <= spec["slots"].keys() and len(set(names)) == len(names)
    if not known or any(value.casefold() not in row.text.casefold() for _, value in slots):
        return None
    return Utterance(row.text, slots)


def _parameters(
    slots: Mapping[str, Sequence[str]], rows: Sequence[Utterance], rng: np.random.Generator
) -> tuple[dict[str, str], dict[str, Any]]:
    """Slots that become parameters, by the names of these; and the parameters' schemas."""
    parameters: dict[str, str] = {}
    properties: dict[str, Any] = {}
    for slot in rng.permutation(list(slots)).tolist():
        names = [name for name in slots[slot] if name not in properties]
        values = sorted({value for row in rows for name, value in row.slots if name == slot})
        if not names or not values or rng.random() < LEFT_OUT_ODDS:
            continue
        parameters[slot] = name = str(rng.choice(names))
        properties[name] = _property(str(slot), values, rng)
    return parameters, properties


def _asked(
    rows: Sequence[Utterance], parameters: Mapping[str, str], properties: Mapping[str, Any], rng: np.random.Generator
) -> Asked | None:
    for _ in range(TRIES):
        row = rows[int(rng.integers(len(rows)))]
        if rng.random() < EXCHANGE_ODDS:
            row = _exchanged(row, rows, rng)
        arguments = _arguments(row, parameters, properties)
        if arguments is not None:
            return row.text, arguments
    return None


def _exchanged(row: Utterance, rows: Sequence[Utterance], rng: np.random.Generator) -> Utterance:
    """With another text in place of one of its names."""
    places = [at for at, (name, value) in enumerate(row.slots) if name in NAMES and row.text.count(value) == 1]
    if not places:
        return row
    at = int(rng.choice(places))
    slot, value = row.slots[at]
    known = [v for r in rows[:400] for n, v in r.slots if n == slot] or [value]
    new = str(rng.choice(known)) if rng.random() < OWN_KIND_ODDS else made_up.text(known, rng)
    text = row.text.replace(value, new)
    if any(text.count(other) != 1 for number, (_, other) in enumerate(row.slots) if number != at):
        return row
    return Utterance(text, (*row.slots[:at], (slot, new), *row.slots[at + 1 :]))


def _has(row: Utterance, slots: Sequence[str]) -> bool:
    return set(slots) <= {name for name, _ in row.slots}


def _property(slot: str, values: list[str], rng: np.random.Generator) -> dict[str, Any]:
    if slot in WHOLE_NUMBERS:
        return {"type": "integer"}
    if slot in CHOICES and rng.random() < ENUM_ODDS:
        return {"enum": [str(v) for v in rng.permutation(values)[: int(rng.integers(3, 8))]]}
    schema: dict[str, Any] = {"type": "string"}
    if rng.random() < 0.5:
        label = slot.removesuffix("_name").removesuffix("_type").replace("_", " ")
        schema["description"] = str(
            rng.choice([f"The {label}, as said.", f"{label.capitalize()}.", f"The {label}, where one was named."])
        )
    return schema


def _arguments(row: Utterance, parameters: Mapping[str, str], properties: Mapping[str, Any]) -> dict[str, Any] | None:
    """In the order of the properties; None where a value does not fit."""
    said = {parameters[slot]: (slot, value) for slot, value in row.slots if slot in parameters}
    arguments: dict[str, Any] = {}
    for name, schema in properties.items():
        if name not in said:
            continue
        slot, value = said[name]
        if slot in WHOLE_NUMBERS:
            number = int(value) if value.isdigit() else _word_number(value)
            if number is None:
                return None
            arguments[name] = number
        elif "enum" in schema and value not in schema["enum"]:
            return None
        else:
            arguments[name] = value
    return arguments


def _word_number(value: str) -> int | None:
    words = NUMBER_WORDS["en"]
    return words.index(value.casefold()) if value.casefold() in words else None
