"""A small station for the tests of phrases."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lineside.edge.commands.phrases.book import PhraseBook
from lineside.edge.config import Config
from lineside.edge.errors import RequestError
from lineside.edge.tool_config import PhraseConfig, ToolConfig


def parameters(**properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "required": list(properties), "additionalProperties": False, "properties": properties}


PERCENT = parameters(percent={"type": "integer", "minimum": 0, "maximum": 100})
TOOLS = {
    "stop_line": ToolConfig("Stop the line.", phrases=("stop [the] (line|belt)", "[das] Band anhalten")),
    "set_belt_speed": ToolConfig(
        "Set the speed of the belt.",
        PERCENT,
        phrases=(
            "set [the] belt [speed] to {percent} [percent|%]",
            "[das] Band auf {percent} Prozent",
            "tapis à {percent} pour cent",
            "cinta al {percent} por ciento",
            PhraseConfig("full speed [ahead]", {"percent": 100}),
        ),
        words={"percent": {"50": ("half [speed]",)}},
        limits={"percent": {"maximum": 80}},
    ),
    "set_light": ToolConfig(
        "Turn a light on or off.",
        parameters(room={"enum": ["kitchen", "living room"]}, on={"type": "boolean"}),
        phrases=("turn [the] {room} light {on}", "light[s] {on} in [the] {room}", "Licht in der {room} {on}"),
        words={"on": {"true": ("on", "an"), "false": ("off", "aus")}, "room": {"kitchen": ("Küche",)}},
    ),
    "set_heating": ToolConfig(
        "Set the heating.",
        parameters(celsius={"type": "number", "minimum": 5, "maximum": 30}),
        phrases=(
            "heating to {celsius} [degrees]",
            "Heizung auf {celsius} Grad",
            PhraseConfig("heating to {celsius} fahrenheit", units={"celsius": "degF"}),
        ),
        units={"celsius": "degC"},
    ),
    "play_music": ToolConfig(
        "Play music.",
        parameters(artist={"type": "string"}),
        phrases=("play {artist}", "play something by {artist}"),
    ),
    "how_fast": ToolConfig("Tell the speed.", query="{{ 1 }}", phrases=("how fast is the belt", "is it fast?")),
}


def book(tools: dict[str, ToolConfig] = TOOLS, **changes: Any) -> PhraseBook:
    return PhraseBook(Config(tools=tools, file=Path("station.toml"), **changes))


def decided(phrases: PhraseBook, text: str) -> tuple[str, dict[str, Any]] | str | None:
    """The call, the code of the refusal, or None for the model."""
    try:
        found = phrases.match(text)
    except RequestError as error:
        return error.code
    return (found.tool, dict(found.arguments)) if found is not None else None
