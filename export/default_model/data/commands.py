"""Commands in plain language with the tools that they call: generated, since the sets are small and must be free.

Train and test phrases are apart: a phrase of `TEST_PHRASES` never occurs in training, though its tools do.
"""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lineside.export.evaluation.cases import held_out_texts
from lineside.runtime.chat import Message, Tool, ToolCall

SYSTEM_TEXT = "You control a production line. Call a function, or say that none fits."
NUMERIC = ["set_belt_speed", "set_light", "set_temperature"]
BEGINNINGS = (
    "",
    "please ",
    "now ",
    "can you ",
    "could you ",
    "i want you to ",
    "ok ",
    "hey, ",
    "would you ",
    "let us ",
)
ENDINGS = ("", "", " please", " now", " again", " right now", " for me", " at once")
NO_TOOL_TEXT = "No function fits."
CALL_ID = "000000000"
WORDS = {10: "ten", 20: "twenty", 25: "a quarter", 30: "thirty", 40: "forty", 50: "half", 60: "sixty"}
WORDS |= {75: "three quarters", 80: "eighty", 90: "ninety", 100: "full"}


@dataclass(frozen=True)
class Command:
    """An utterance with the tools on offer; `call` is None where none fits."""

    text: str
    tools: tuple[Tool, ...]
    call: ToolCall | None


def _tool(name: str, description: str, **properties: dict[str, Any]) -> Tool:
    schema = {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}
    return Tool(name, description, schema)


PERCENT = {"type": "integer", "minimum": 0, "maximum": 100}
DEGREES = {"type": "integer", "minimum": 0, "maximum": 120}
TOOLS = {
    tool.name: tool
    for tool in (
        _tool("set_belt_speed", "Set the speed of the belt in percent.", percent=PERCENT),
        _tool("set_light", "Set the brightness of the light in percent.", percent=PERCENT),
        _tool("stop_line", "Stop the line."),
        _tool("start_line", "Start the line."),
        _tool("reject_part", "Reject the part."),
        _tool("set_gate", "Open or close the gate.", state={"enum": ["open", "closed"]}),
        _tool("set_lamp", "Set the color of the signal lamp.", color={"enum": ["red", "yellow", "green", "off"]}),
        _tool("count_parts", "Count the parts of a period.", period={"enum": ["hour", "shift", "day"]}),
        _tool("take_picture", "Take a picture."),
        _tool("set_temperature", "Set the temperature in degrees.", degrees=DEGREES),
    )
}

_PHRASES = tomllib.loads(Path(__file__).with_name("phrases.toml").read_text(encoding="utf-8"))
TRAIN_PHRASES: dict[str, list[str]] = _PHRASES["train"]
TEST_PHRASES: dict[str, list[str]] = _PHRASES["test"]


def out_of_scope(folder: Path) -> list[str]:
    """Utterances that no tool fits (clinc/oos-eval, CC BY 3.0), without those that the evaluation keeps to itself."""
    kept = held_out_texts("clinc")
    lines = (folder / "clinc_oos_train.jsonl").read_text(encoding="utf-8").splitlines()
    texts = [str(json.loads(line)["text"]) for line in lines]
    return [text for text in texts if text not in kept]


def written_out_of_scope() -> list[str]:
    """Utterances that no tool fits, written for Lineside, an eighth of them in German, French or Spanish."""
    return Path(__file__).with_name("out_of_scope.txt").read_text(encoding="utf-8").splitlines()


def make_command(
    rng: np.random.Generator,
    phrases: dict[str, list[str]],
    scope_free: list[str],
    *,
    numbers: float = 0.0,
    most_others: int = 3,
) -> Command:
    """Draw one command; about one in four is out of scope, or asks for a tool that is not on offer.

    `numbers` is the share of commands that are drawn among those with a number; `most_others` bounds the other tools.
    """
    names = list(rng.permutation(list(TOOLS)))
    if rng.random() < 0.12:
        text = scope_free[int(rng.integers(len(scope_free)))]
        return Command(text, tuple(TOOLS[n] for n in names[: int(rng.integers(1, 5))]), None)
    key = str(rng.choice(NUMERIC if rng.random() < numbers else list(phrases)))
    name = key.partition(":")[0]
    phrase = str(rng.choice(phrases[key]))
    text, arguments = fill(key, wrap(phrase, rng) if phrases is TRAIN_PHRASES else phrase, rng)
    others = [n for n in names if n != name][: int(rng.integers(1, most_others + 1))]
    missing = rng.random() < 0.12
    offered = others if missing else [str(n) for n in rng.permutation([name, *others])]
    call = None if missing else ToolCall(CALL_ID, name, arguments)
    return Command(text, tuple(TOOLS[n] for n in offered), call)


def wrap(phrase: str, rng: np.random.Generator) -> str:
    """Half of the training phrases get a polite beginning or an end; never so that a test phrase comes out."""
    if rng.random() < 0.5:
        return phrase
    wrapped = f"{rng.choice(BEGINNINGS)}{phrase}{rng.choice(ENDINGS)}"
    return phrase if any(wrapped in kept for kept in TEST_PHRASES.values()) else wrapped


def fill(key: str, phrase: str, rng: np.random.Generator) -> tuple[str, dict[str, Any]]:
    """Put a value into the phrase, and the same value into the arguments."""
    if key.startswith("set_gate"):
        return phrase, {"state": key.partition(":")[2]}
    if "{p}" in phrase:
        percent = int(rng.choice(list(WORDS))) if rng.random() < 0.5 else int(rng.integers(101))
        said = f"{percent} percent" if rng.random() < 0.6 else f"{percent}%"
        if percent in WORDS and rng.random() < 0.7:
            word = WORDS[percent]
            fraction = percent in (25, 50, 75, 100)
            said = f"{word} {'speed' if key == 'set_belt_speed' else 'power'}" if fraction else f"{word} percent"
        return phrase.format(p=said), {"percent": percent}
    if "{d}" in phrase:
        degrees = int(rng.integers(121))
        return phrase.format(d=degrees), {"degrees": degrees}
    for mark, field, values in (
        ("{c}", "color", ("red", "yellow", "green", "off")),
        ("{t}", "period", ("hour", "shift", "day")),
    ):
        if mark in phrase:
            value = str(rng.choice(values))
            return phrase.replace(mark, value), {field: value}
    return phrase, {}


def command_messages(text: str) -> list[Message]:
    """The conversation in which a command is put to the model."""
    return [Message("system", (SYSTEM_TEXT,)), Message("user", (text,))]
