"""Functions of made-up machines, put together from `machines.toml`, and those of the demo's production line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from lineside.export.default_model.data import commands, made_up
from lineside.export.default_model.data.offers import MACHINES, Asked, Offer, make_tool, ordered, spell, styled, wrapped
from lineside.runtime.chat import Tool

MADE_UP_ODDS = 0.5


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
        return wrapped(text, rng, language), ordered(arguments, tool)

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
        return wrapped(text, rng, language), ordered(arguments, tool)

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
        return wrapped(text, rng, language), ordered(arguments, tool)

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
        invented = rng.random() < MADE_UP_ODDS
        value = made_up.text(spec["values"], rng) if invented else str(rng.choice(spec["values"]))
        return wrapped(str(rng.choice(spec[language])).format(s=value), rng, language), {parameter: value}

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


def _value(rng: np.random.Generator, most: int) -> int:
    if rng.random() < 0.5:
        step = 10 if most >= 60 else 1
        return int(rng.integers(0, most // step + 1)) * step
    return int(rng.integers(0, most + 1))


def _unit(unit: str, rng: np.random.Generator, language: str) -> str:
    return str(rng.choice(MACHINES["units"][unit][language]))


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
