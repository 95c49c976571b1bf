"""Tools to train on, each with a way to ask for it. A training step sees tools that no step saw before.

Three kinds: intents of public data sets under names, descriptions and parameters drawn anew each time (`spoken`),
functions of made-up machines (`machine`), and the production line of the demo (`line`).
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from export.default_model import commands
from export.evaluation.cases import OWN, held_out_texts, load_tools
from export.evaluation.intents import hwu64_slots, snips_slots
from runtime.chat import Tool

FOLDER = Path(__file__).parent
SPOKEN: Mapping[str, Any] = tomllib.loads((FOLDER / "spoken_tools.toml").read_text(encoding="utf-8"))
MACHINES: Mapping[str, Any] = tomllib.loads((FOLDER / "machines.toml").read_text(encoding="utf-8"))
LANGUAGES = ("en", "de", "fr", "es")
LANGUAGE_ODDS = (0.7, 0.1, 0.1, 0.1)
WHOLE_NUMBERS = frozenset({"party_size_number", "rating_value", "best_rating"})
CHOICES = frozenset({"house_place", "color_type", "device_type", "timeofday", "media_type", "order_type", "service",
                     "player_setting", "transport_type"})  # fmt: skip
"""Slots that are at times offered as a list of values to choose from."""
ENUM_ODDS = 0.4
TRIES = 30
NUMBER_WORDS: Mapping[str, list[str]] = MACHINES["numbers"]
TENS: Mapping[str, list[str]] = MACHINES["tens"]

Asked = tuple[str, dict[str, Any]]
"""A command and the arguments that it names."""


@dataclass(frozen=True)
class Offer:
    """A tool, and `say`, which draws a command for it in a language, or None where it has none in that language.

    `topics` and `near` tell which tools the same words may mean: two of them are never offered together.
    """

    tool: Tool
    topics: frozenset[str]
    near: frozenset[str]
    say: Callable[[np.random.Generator, str], Asked | None]

    def clashes(self, other: Offer) -> bool:
        return bool(self.topics & (other.topics | other.near) or self.near & other.topics)


@cache
def held_out_names() -> frozenset[str]:
    """Names of the tools of the evaluation."""
    return frozenset(name for domain in (*OWN, "public") for name in load_tools(domain).tools)


def make_tool(name: str, about: str, properties: Mapping[str, Any], required: list[str]) -> Tool:
    """A tool whose parameters are a closed JSON Schema. Raises ValueError for a name that the evaluation keeps."""
    if name in held_out_names():
        raise ValueError(f"{name} is a tool of the evaluation")
    schema = {"type": "object", "properties": dict(properties), "required": required, "additionalProperties": False}
    return Tool(name, about, schema)


def styled(name: str, rng: np.random.Generator) -> str:
    """The name as some program would write it: mostly as it is, at times in camel case or with the verb last."""
    words = name.split("_")
    draw = rng.random()
    if draw < 0.1:
        name = words[0] + "".join(word.capitalize() for word in words[1:])
    elif draw < 0.2 and len(words) == 2:
        name = "_".join(reversed(words))
    elif draw < 0.25:
        name = f"{rng.choice(['do', 'cmd', 'app', 'svc'])}_{name}"
    return f"{name}_now" if name in held_out_names() else name


@dataclass(frozen=True)
class Utterance:
    text: str
    slots: tuple[tuple[str, str], ...]


@cache
def utterances(folder: Path) -> Mapping[str, tuple[Utterance, ...]]:
    """Training utterances by intent; those with annotations that the tools do not know are left out."""
    kept = held_out_texts("hwu64") | held_out_texts("snips")
    found: dict[str, list[Utterance]] = {}
    for source, read in (("hwu64", hwu64_slots), ("snips", snips_slots)):
        for line in (folder / f"{source}_train.jsonl").read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            text = " ".join(str(row["text"]).split())
            spec = SPOKEN.get(row["intent"])
            if text in kept or row["text"] in kept:
                continue
            slots = tuple((name, " ".join(value.split())) for name, value in read(row))
            if spec is not None:
                names = [name for name, _ in slots if name not in spec.get("ignored", ())]
                known = set(names) <= spec["slots"].keys() and len(set(names)) == len(names)
                if not known or any(value.casefold() not in text.casefold() for _, value in slots):
                    continue
            found.setdefault(row["intent"], []).append(Utterance(text, slots))
    return {intent: tuple(rows) for intent, rows in found.items()}


def spoken_offer(folder: Path, rng: np.random.Generator) -> Offer:
    """An intent of HWU64 or SNIPS as a tool."""
    intent = str(rng.choice(list(SPOKEN)))
    spec, rows = SPOKEN[intent], utterances(folder)[intent]
    parameters: dict[str, str] = {}
    properties: dict[str, Any] = {}
    for slot in rng.permutation(list(spec["slots"])):
        names = [name for name in spec["slots"][slot] if name not in properties]
        values = sorted({value for row in rows for name, value in row.slots if name == slot})
        if not names or not values or rng.random() < 0.2:
            continue
        parameters[slot] = name = str(rng.choice(names))
        properties[name] = _property(str(slot), values, rng)
    needed = [slot for slot in parameters if rng.random() < 0.35]
    by_need = {count: [r for r in rows if _has(r, needed[:count])] for count in range(len(needed) + 1)}
    count = max(count for count, fitting in by_need.items() if len(fitting) > 5 or count == 0)
    tool = make_tool(
        styled(str(rng.choice(spec["names"])), rng),
        str(rng.choice(spec["about"])),
        properties,
        [parameters[slot] for slot in needed[:count]],
    )

    def say(rng: np.random.Generator, language: str) -> Asked | None:
        for _ in range(TRIES if language == "en" else 0):
            row = by_need[count][int(rng.integers(len(by_need[count])))]
            arguments = _arguments(row, parameters, properties)
            if arguments is not None:
                return row.text, arguments
        return None

    return Offer(tool, frozenset({intent}), frozenset(spec.get("near", ())), say)


def _has(row: Utterance, slots: list[str]) -> bool:
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


def line_offer(rng: np.random.Generator) -> Offer:
    """A tool of the demo's production line."""
    key = str(rng.choice(list(commands.TRAIN_PHRASES)))
    name = key.partition(":")[0]
    keys = [k for k in commands.TRAIN_PHRASES if k.partition(":")[0] == name]

    def say(rng: np.random.Generator, language: str) -> Asked | None:
        if language != "en":
            return None
        key = str(rng.choice(keys))
        phrase = commands.wrap(str(rng.choice(commands.TRAIN_PHRASES[key])), rng)
        return commands.fill(key, phrase, rng)

    return Offer(commands.TOOLS[name], frozenset({f"line/{name}"}), frozenset(), say)


def machine_offer(rng: np.random.Generator) -> Offer:
    """One function of one thing."""
    if rng.random() < 0.12:
        return _saying_offer(rng)
    thing = MACHINES["thing"][int(rng.integers(len(MACHINES["thing"])))]
    kinds = [kind for kind in ("quantities", "states", "modes") if kind in thing]
    kind = str(rng.choice(kinds))
    which = {"enum": list(thing["which"])} if "which" in thing and rng.random() < 0.5 else None
    if kind == "quantities" and rng.random() < 0.2:
        return _read_offer(thing, rng)
    make = {"quantities": _quantity_offer, "states": _state_offer, "modes": _mode_offer}[kind]
    return make(thing, which, rng)


def _quantity_offer(thing: Mapping[str, Any], which: dict[str, Any] | None, rng: np.random.Generator) -> Offer:
    quantity = str(rng.choice(thing["quantities"]))
    spec = MACHINES["quantities"][quantity]
    at = int(rng.integers(len(spec["units"])))
    unit, most = spec["units"][at], int(spec["most"][at])
    parameter = str(rng.choice([unit, quantity, f"{quantity}_{unit}", "value", "target", f"target_{quantity}"]))
    number: dict[str, Any] = {"type": "integer", "minimum": 0, "maximum": most}
    if rng.random() < 0.4:
        number["description"] = f"In {unit.replace('_', ' ')}."
    lasting = str(rng.choice(["seconds", "minutes"])) if rng.random() < 0.15 and quantity != "duration" else ""
    properties = _with_which({parameter: number}, which, rng)
    if lasting and lasting not in properties:
        properties[lasting] = {"type": "integer", "minimum": 1, "maximum": 120}
    else:
        lasting = ""
    noun, spoken_unit = thing["name"], unit.replace("_", " ")
    name = str(rng.choice([f"set_{noun}_{quantity}", f"{noun}_{quantity}", f"adjust_{noun}", f"{noun}_set",
                           f"change_{noun}_{quantity}", f"set_{noun}"]))  # fmt: skip
    label = noun.replace("_", " ")
    about = str(rng.choice([f"Set the {quantity} of the {label} in {spoken_unit}.",
                            f"Changes the {label}'s {quantity}.",
                            f"{quantity.capitalize()} of the {label}, in {spoken_unit}.",
                            f"Controls how the {label} is set: {quantity}."]))  # fmt: skip
    tool = make_tool(
        styled(name, rng), about, properties, [p for p in properties if p != lasting or rng.random() < 0.5]
    )

    def say(rng: np.random.Generator, language: str) -> Asked | None:
        value = _value(rng, most)
        phrase = str(rng.choice(MACHINES["quantity_phrases"][language]))
        target, chosen = _target(thing, which, rng, language)
        label = quantity if language == "en" else spec[language]
        text = phrase.format(t=target, q=label, n=f"{spell(value, rng, language)} {_unit(unit, rng, language)}".strip())
        arguments: dict[str, Any] = {parameter: value}
        if which is not None:
            arguments[_which_name(tool)] = chosen
        if lasting:
            if language != "en" or (lasting not in tool.parameters["required"] and rng.random() < 0.5):
                if lasting in tool.parameters["required"]:
                    return None
            else:
                time = int(rng.integers(1, 91))
                text = f"{text} for {spell(time, rng, 'en')} {lasting}"
                arguments[lasting] = time
        return _wrapped(text, rng, language), _ordered(arguments, tool)

    return Offer(tool, frozenset({f"{noun}/{quantity}", f"{noun}/set"}), frozenset(), say)


def _which_name(tool: Tool) -> str:
    """The name of the parameter that says which of several things is meant."""
    return next(str(name) for name in tool.parameters["properties"] if name in WHICH_NAMES)


WHICH_NAMES = ("which", "side", "where", "unit_name", "zone", "id")


def _with_which(properties: dict[str, Any], which: dict[str, Any] | None, rng: np.random.Generator) -> dict[str, Any]:
    if which is None:
        return properties
    name = str(rng.choice(WHICH_NAMES))
    return {name: which, **properties} if rng.random() < 0.5 else {**properties, name: which}


def _state_offer(thing: Mapping[str, Any], which: dict[str, Any] | None, rng: np.random.Generator) -> Offer:
    state = str(rng.choice(thing["states"]))
    spec = MACHINES["states"][state]
    noun, label = thing["name"], thing["name"].replace("_", " ")
    single = rng.random() < 0.35
    at = int(rng.integers(2))
    if single:  # a tool for one of the two states, without a parameter for it
        verb = spec["values"][at]
        name = f"turn_{verb}_{noun}" if state == "on_off" else f"{verb}_{noun}"
        about = f"Turn the {label} {verb}." if state == "on_off" else f"{verb.capitalize()} the {label}."
        properties = _with_which({}, which, rng)
        parameter, values = "", spec["values"]
    else:
        parameter = str(rng.choice(["state", "action", "to", "command", "position"]))
        boolean = state == "on_off" and rng.random() < 0.3
        values = [True, False] if boolean else list(spec["values"])
        if boolean:
            parameter = str(rng.choice(["on", "enabled", "active"]))
        properties = _with_which({parameter: {"type": "boolean"} if boolean else {"enum": values}}, which, rng)
        name = str(rng.choice([f"switch_{noun}", f"{noun}_state", f"control_{noun}", f"set_{noun}_state", noun]))
        first, second = spec["values"]
        about = str(rng.choice([f"{first.capitalize()} or {second}: the {label}.", f"Controls the {label}.",
                                f"Switch the {label} {first} or {second}."]))  # fmt: skip
    tool = make_tool(styled(name, rng), about, properties, list(properties))

    def say(rng: np.random.Generator, language: str) -> Asked | None:
        chosen_state = at if single else int(rng.integers(2))
        target, chosen = _target(thing, which, rng, language)
        text = str(rng.choice(spec[language][chosen_state])).format(t=target)
        arguments: dict[str, Any] = {} if single else {parameter: values[chosen_state]}
        if which is not None:
            arguments[_which_name(tool)] = chosen
        return _wrapped(text, rng, language), _ordered(arguments, tool)

    topic = f"{noun}/{state}/{spec['values'][at]}" if single else f"{noun}/{state}"
    near = frozenset({f"{noun}/{state}"}) if single else frozenset(f"{noun}/{state}/{v}" for v in spec["values"])
    others = {"on_off": "start_stop", "start_stop": "on_off"}.get(state, "")
    return Offer(tool, frozenset({topic}), near | {f"{noun}/{others}"}, say)


def _mode_offer(thing: Mapping[str, Any], which: dict[str, Any] | None, rng: np.random.Generator) -> Offer:
    noun, label = thing["name"], thing["name"].replace("_", " ")
    parameter = str(rng.choice(["mode", "program", "setting", "profile"]))
    modes = [str(mode) for mode in rng.permutation(thing["modes"])]
    properties = _with_which({parameter: {"enum": modes}}, which, rng)
    name = str(rng.choice([f"set_{noun}_{parameter}", f"{noun}_{parameter}", f"choose_{noun}_{parameter}"]))
    about = str(rng.choice([f"Choose the {parameter} of the {label}.", f"Sets how the {label} runs.",
                            f"Puts the {label} into a {parameter}."]))  # fmt: skip
    tool = make_tool(styled(name, rng), about, properties, list(properties))

    def say(rng: np.random.Generator, language: str) -> Asked | None:
        mode = str(rng.choice(modes))
        target, chosen = _target(thing, which, rng, language)
        text = str(rng.choice(MACHINES["mode_phrases"][language])).format(t=target, m=mode.replace("_", " "))
        arguments = {parameter: mode}
        if which is not None:
            arguments[_which_name(tool)] = chosen
        return _wrapped(text, rng, language), _ordered(arguments, tool)

    return Offer(tool, frozenset({f"{noun}/mode"}), frozenset(), say)


def _read_offer(thing: Mapping[str, Any], rng: np.random.Generator) -> Offer:
    noun, label = thing["name"], thing["name"].replace("_", " ")
    quantities = list(thing["quantities"])
    several = len(quantities) > 1 and rng.random() < 0.6
    quantity = str(rng.choice(quantities))
    parameter = str(rng.choice(["quantity", "what", "sensor", "value"]))
    properties = {parameter: {"enum": quantities}} if several else {}
    verb = str(rng.choice(["read", "get", "show", "report"]))
    name = f"{verb}_{noun}_{'values' if several else quantity}"
    about = f"{verb.capitalize()} {'a value' if several else f'the {quantity}'} of the {label}."
    tool = make_tool(styled(name, rng), about, properties, list(properties))

    def say(rng: np.random.Generator, language: str) -> Asked | None:
        wanted = str(rng.choice(quantities)) if several else quantity
        said = wanted if language == "en" else MACHINES["quantities"][wanted][language]
        target, _ = _target(thing, None, rng, language)
        text = str(rng.choice(MACHINES["read_phrases"][language])).format(t=target, q=said)
        return text, {parameter: wanted} if several else {}

    return Offer(tool, frozenset({f"{noun}/read"}), frozenset(), say)


def _saying_offer(rng: np.random.Generator) -> Offer:
    spec = MACHINES["saying"][int(rng.integers(len(MACHINES["saying"])))]
    parameter = str(rng.choice(spec["parameter"]))
    name = styled(str(rng.choice(spec["names"])), rng)
    tool = make_tool(name, str(rng.choice(spec["about"])), {parameter: {"type": "string"}}, [parameter])

    def say(rng: np.random.Generator, language: str) -> Asked | None:
        if language not in spec:
            return None
        value = str(rng.choice(spec["values"]))
        return _wrapped(str(rng.choice(spec[language])).format(s=value), rng, language), {parameter: value}

    return Offer(tool, frozenset({spec["names"][0]}), frozenset(), say)


def _target(
    thing: Mapping[str, Any], which: dict[str, Any] | None, rng: np.random.Generator, language: str
) -> tuple[str, str]:
    """How the thing is called, and which of several it is."""
    noun = str(rng.choice(thing[language]))
    if which is None:
        return noun, ""
    chosen = str(rng.choice(which["enum"]))
    if language != "en":
        return f"{noun} {chosen}", chosen
    bare = noun.removeprefix("the ")
    return (f"the {chosen} {bare}", chosen) if noun != bare or rng.random() < 0.7 else (f"{chosen} {bare}", chosen)


def _ordered(arguments: Mapping[str, Any], tool: Tool) -> dict[str, Any]:
    return {name: arguments[name] for name in tool.parameters["properties"] if name in arguments}


def _value(rng: np.random.Generator, most: int) -> int:
    if rng.random() < 0.5:
        step = 10 if most >= 60 else 1
        return int(rng.integers(0, most // step + 1)) * step
    return int(rng.integers(0, most + 1))


def _unit(unit: str, rng: np.random.Generator, language: str) -> str:
    return str(rng.choice(MACHINES["units"][unit][language]))


def spell(value: int, rng: np.random.Generator, language: str) -> str:
    """A number in digits, or in words where they are easy."""
    if rng.random() < 0.65:
        return str(value)
    if value <= 20:
        return NUMBER_WORDS[language][value]
    if value % 10 == 0 and value <= 100:
        return TENS[language][value // 10]
    if language == "en" and value < 100:
        return f"{TENS['en'][value // 10]}{rng.choice(['-', ' '])}{NUMBER_WORDS['en'][value % 10]}"
    return str(value)


def _wrapped(text: str, rng: np.random.Generator, language: str) -> str:
    before, after = MACHINES["wrap"][language][int(rng.integers(len(MACHINES["wrap"][language])))]
    text = f"{before}{text}{after}"
    if rng.random() < 0.25:
        text = text[0].upper() + text[1:]
    return f"{text}." if rng.random() < 0.1 and not re.search(r"\W$", text) else text
