"""What all tools to train on have in common. A training step sees tools that no step saw before.

They come from intents of public data sets under names, descriptions and parameters drawn anew each time
(`spoken_tools.py`), from hand-written files (`written_tools.py`), and from made-up machines and the demo's production
line (`machine_tools.py`).
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from lineside.export.evaluation.cases import OWN, load_tools
from lineside.runtime.chat import Tool

FOLDER = Path(__file__).parent
MACHINES: Mapping[str, Any] = tomllib.loads((FOLDER / "machines.toml").read_text(encoding="utf-8"))
LANGUAGES = ("en", "de", "fr", "es")
LANGUAGE_ODDS = (0.76, 0.08, 0.08, 0.08)
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


def wrapped(text: str, rng: np.random.Generator, language: str) -> str:
    """With a polite beginning or an end, at times as a sentence."""
    before, after = MACHINES["wrap"][language][int(rng.integers(len(MACHINES["wrap"][language])))]
    text = f"{before}{text}{after}"
    if rng.random() < 0.25:
        text = text[0].upper() + text[1:]
    return f"{text}." if rng.random() < 0.1 and not re.search(r"\W$", text) else text


def ordered(arguments: Mapping[str, Any], tool: Tool) -> dict[str, Any]:
    """In the order of the tool's properties."""
    return {name: arguments[name] for name in tool.parameters["properties"] if name in arguments}
