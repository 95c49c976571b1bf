"""A topic that is fixed, or one of several by the value of one argument: never made from what an argument says."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

from pydantic import Field

Topic = Annotated[
    str | dict[str, dict[str, str]], Field(description='a topic or { argument = { value = "topic", ... } }')
]
"""A topic, or `{argument = {value = topic, ...}}`."""
KUKSA = "kuksa:"
"""What the topic of a state begins with that comes from the databroker: `kuksa:Vehicle.Speed`."""
Place = tuple[tuple[str, ...], str]
"""Keys below the topic's own, and what is wrong there."""


def topics_of(topic: Topic) -> dict[str, str]:
    """Every topic, by the argument's value as it is written in the station file; under "" the one that is fixed."""
    if isinstance(topic, str):
        return {"": topic}
    return {value: chosen for choice in topic.values() for value, chosen in choice.items()}


def chosen_by(topic: Topic) -> str:
    """The argument that chooses; empty where the topic is fixed."""
    return "" if isinstance(topic, str) else next(iter(topic), "")


def topic_for(topic: Topic, arguments: Mapping[str, Any]) -> str:
    """The topic for these arguments; raises LookupError where the argument is missing or has another value."""
    return topics_of(topic)[choice_of(topic, arguments)]


def choice_of(topic: Topic, arguments: Mapping[str, Any]) -> str:
    """The argument's value as it is written in the station file; raises KeyError where it is missing."""
    argument = chosen_by(topic)
    return written(arguments[argument]) if argument else ""


def topic_problems(key: str, topic: Topic, parameters: Mapping[str, Any]) -> Iterator[Place]:
    """Every mistake in the topic at `key`, of a tool with these parameters."""
    if isinstance(topic, str):
        if not is_plain(topic):
            yield (), f"`{key}` {topic!r} is not a plain topic: no +, # or {{}} in it, and no $ at its beginning"
        return
    if len(topic) != 1:
        yield (), f"`{key}` must name one argument that chooses, not {len(topic)}"
        return
    ((argument, choice),) = topic.items()
    yield from _argument_problems(f"{key}.{argument}", argument, choice, parameters)
    for value, chosen in choice.items():
        if not is_plain(chosen):
            where = f"{key}.{argument}.{value}"
            yield (argument, value), f"`{where}` {chosen!r} is not a plain topic: no +, # or {{}} in it, no $ before it"


def _argument_problems(
    key: str, argument: str, choice: Mapping[str, str], parameters: Mapping[str, Any]
) -> Iterator[Place]:
    """The argument has an enum, is required, and each of its values has a topic."""
    known = parameters.get("properties", {})
    known = known if isinstance(known, Mapping) else {}
    if argument not in known:
        yield (argument,), f"`{key}`: no such argument; the tool has {', '.join(known) or 'none'}"
        return
    schema = known[argument]
    values = schema.get("enum") if isinstance(schema, Mapping) else None
    if not isinstance(values, list | tuple) or not values:
        yield (argument,), f"`{key}`: {argument} must have an `enum`, so that each of its values has a topic"
        return
    required = parameters.get("required") or ()
    if not isinstance(required, list | tuple) or argument not in required:
        yield (argument,), f"`{key}`: {argument} must be in `required`, since without it there is no topic"
    yield from _value_problems(key, argument, choice, values)


def _value_problems(key: str, argument: str, choice: Mapping[str, str], values: Sequence[Any]) -> Iterator[Place]:
    known = [written(value) for value in values]
    for value in known:
        if value not in choice:
            yield (argument,), f"`{key}` has no topic for {value}: name one for each value of {argument}"
    for value in choice:
        if value not in known:
            yield (argument, value), f"`{key}.{value}`: {argument} is one of {', '.join(known)}"


def is_plain(topic: str) -> bool:
    """Whether one can publish there; templates have no place in a topic, nor has what a broker keeps for itself."""
    return bool(topic) and not re.search(r"[#+{}\x00]|^\$", topic)


def written(value: Any) -> str:
    """A value as a key of TOML."""
    return value if isinstance(value, str) else json.dumps(value)
