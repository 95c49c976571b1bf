"""Tools for the tests of the checks, and what is doubted of a call of one of them."""

from __future__ import annotations

from typing import Any

from lineside.runtime.chat import Tool, ToolCall
from lineside.runtime.commands.declared import Declared
from lineside.runtime.commands.doubt import Judge
from lineside.runtime.commands.heard import hear
from lineside.runtime.commands.retrieval import ToolIndex

ROOMS = {"enum": ["kitchen", "living room", "bedroom"]}


def tool(name: str, description: str, required: bool = True, **properties: Any) -> Tool:
    parameters = {"type": "object", "properties": properties, "additionalProperties": False}
    return Tool(name, description, {**parameters, "required": list(properties) if required else []})


PERCENT = {"type": "integer", "minimum": 0, "maximum": 100}
TOOLS = (
    Declared(tool("stop_line", "Stop the line.")),
    Declared(tool("set_belt_speed", "Set the speed of the belt in percent.", percent=PERCENT)),
    Declared(tool("set_light", "Turn a light in a room on or off.", room=ROOMS, state={"enum": ["on", "off"]})),
    Declared(tool("open_garage", "Open the garage door.")),
    Declared(
        tool(
            "set_heating",
            "Set the temperature of the heating in degrees Celsius.",
            temperature={"type": "number", "minimum": 5, "maximum": 30},
        )
    ),
    Declared(tool("archive_pictures", "Begin or cease to keep pictures.", enabled={"type": "boolean"})),
    Declared(tool("play_music", "Play music by an artist.", artist={"type": "string"})),
    Declared(tool("start_pump", "Start the pump.")),
    Declared(tool("halt_pump", "Stop the pump."), opposite="start_pump"),
    Declared(tool("get_temperature", "Tell the temperature of a room.", room=ROOMS)),
    Declared(
        tool("set_lamp", "Set the color of the signal lamp.", color={"enum": ["red", "green", "off"]}),
        words={"color": {"green": ("grünes", "all clear"), "red": ("alert",)}},
    ),
    Declared(tool("start_timer", "Start a timer.", minutes={"type": "integer", "minimum": 1, "maximum": 180})),
)
JUDGE = Judge({declared.name: declared for declared in TOOLS})
INDEX = ToolIndex(TOOLS)


def doubted(text: str, name: str, results: tuple[str, ...] = (), judge: Judge = JUDGE, **arguments: Any) -> str:
    """The code for which a call after this sentence is not made; empty where it is."""
    heard = hear(text, results)
    doubt = judge.doubt(heard, [ToolCall("1", name, arguments)], INDEX.rank(heard))
    return doubt.code if doubt is not None else ""
