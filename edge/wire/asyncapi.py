"""The AsyncAPI 3 description, from the code's own messages.

`python -m lineside.edge.wire.asyncapi deploy/asyncapi.json` writes it.

A test compares the file with what this module makes, so the description cannot fall behind.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel

from lineside import __version__
from lineside.edge.wire.asking import AskCommand
from lineside.edge.wire.changes import CHANGES
from lineside.edge.wire.health import Health
from lineside.edge.wire.messages import (
    JSON_TYPE,
    Body,
    Call,
    Confirmation,
    Event,
    FrameReference,
    Info,
    InspectionResult,
    OutputEvent,
    Reply,
    Return,
    State,
    StationEvent,
    ToolEvent,
)
from lineside.edge.wire.trigger_messages import TriggerEvent, TriggerRequest

WIRE_BODIES: tuple[type[Body], ...] = (
    InspectionResult,
    State,
    Event,
    ToolEvent,
    OutputEvent,
    TriggerEvent,
    StationEvent,
    Reply,
    Call,
    Info,
    Health,
)
INCOMING_BODIES: tuple[type[BaseModel], ...] = (
    AskCommand,
    *CHANGES,
    FrameReference,
    TriggerRequest,
    Return,
    Confirmation,
)
BINDING = "0.2.0"
"""Version of AsyncAPI's binding for MQTT."""


@dataclass(frozen=True)
class Channel:
    """`address` is below the base topic, of the station or of its `group`. Where `qos` is None the sender chooses."""

    address: str
    action: Literal["send", "receive"]
    messages: tuple[str, ...]
    note: str
    qos: int | None = 1
    retain: bool = False
    expiry_s: int | None = None
    group: bool = False


CHANNELS = (
    Channel("status", "send", ("Status",), "also the will, 5 s after the connection is lost", retain=True),
    Channel("info", "send", ("Info",), "after each connect, and when `degraded` changes", retain=True),
    Channel("health", "send", ("Health",), "every 10 s", retain=True, expiry_s=60),
    Channel("result/{camera}", "send", ("InspectionResult",), "kept on disk until acknowledged"),
    Channel(
        "event/{source}",
        "send",
        ("Event", "ToolEvent", "OutputEvent", "TriggerEvent", "StationEvent"),
        "of a camera, a trigger, a tool, an output or the station; kept on disk",
    ),
    Channel("state/{camera}", "send", ("State",), "the last verdict", retain=True),
    Channel("snapshot/{camera}", "send", ("Snapshot",), "the frame with its boxes drawn", qos=0, retain=True),
    Channel("rsp/{command}", "send", ("Reply",), "unless the command named a response topic; expires"),
    Channel("call/{tool}", "send", ("Call",), "expires when the call does"),
    Channel("ret/{tool}", "receive", ("Return",), "a retained message is ignored"),
    Channel("confirm/{tool}", "receive", ("Confirmation",), "a retained message is ignored"),
    Channel(
        "cmd/{command}",
        "receive",
        ("AskCommand", "ConfigCommand", "SwitchCommand", "ModelInstallCommand", "ModelRollbackCommand", "CallCommand"),
        "ask, also as plain UTF-8 text; others where `[remote] allow` has their word; a retained message is ignored",
    ),
    Channel(
        "frame/{camera}",
        "receive",
        ("Frame", "FrameReference"),
        "QoS 0: the latest wins; QoS 1: each is answered; a retained message is ignored",
        qos=None,
    ),
    Channel(
        "trigger/{trigger}",
        "receive",
        ("TriggerRequest",),
        "also with an empty body; each is answered on result/{trigger}; a retained message is ignored",
    ),
    Channel("frame/{camera}", "receive", ("Frame", "FrameReference"), "one member answers it", group=True),
    Channel("cmd/{command}", "receive", ("AskCommand",), "one member answers it; nothing acts", group=True),
    Channel(
        "member/{client}",
        "send",
        ("Status",),
        "also the will; empty when its share was taken up",
        retain=True,
        group=True,
    ),
)
PARAMETERS = {
    "base": "the station's base topic, lineside/{station} where it sets no other",
    "group": "the group's base topic, lineside/groups/{name} where `group.base_topic` sets no other",
    "client": "the client id of the member's connection to the group",
    "camera": "a name of the station file's [cameras], or [triggers]",
    "source": "a camera, a trigger, a tool or an output, or station",
    "trigger": "a name of the station file's [triggers]",
    "command": "such as ask, or model-install",
    "tool": "a name of the station file's [tools]",
}
FRAME_HEADERS = {
    "type": "object",
    "description": "MQTT 5 user properties",
    "properties": {
        "part_id": {"type": "string", "description": "comes back in the result"},
        "name": {"type": "string", "description": "a file name, for people"},
        "max_side": {
            "type": "string",
            "pattern": "^[0-9]+$",
            "description": "the longer side of what the model is shown, 448 to 1540 pixels; the camera's if left out",
        },
        "captured_at": {
            "type": "string",
            "format": "date-time",
            "description": "with a time zone; the frame's age counts from it. The time of arrival where left out",
        },
    },
}
COMMAND_BINDING = {
    "correlationData": {"type": "string", "description": "comes back with the reply; never used twice"},
    "responseTopic": {"type": "string", "description": "where the reply goes; rsp/{command} where left out"},
}
REPLY_BINDING = {"correlationData": {"type": "string", "description": "of the command"}}


def document() -> dict[str, Any]:
    """The whole description as plain data."""
    schemas: dict[str, Any] = {}
    messages = _messages(schemas)
    channels, operations = {}, {}
    for channel in CHANNELS:
        base, name = ("group" if channel.group else "base"), channel.address.partition("/")[0]
        name = f"group_{name}" if channel.group else name
        variables = [base, *([channel.address.partition("{")[2].rstrip("}")] if "{" in channel.address else [])]
        channels[name] = {
            "address": f"{{{base}}}/{channel.address}",
            "description": channel.note,
            "parameters": {variable: {"description": PARAMETERS[variable]} for variable in variables},
            "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in channel.messages},
        }
        operations[f"{channel.action}_{name}"] = {
            "action": channel.action,
            "channel": {"$ref": f"#/channels/{name}"},
            "bindings": {"mqtt": _operation_binding(channel)},
        }
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Lineside station",
            "version": __version__,
            "description": "Topics below a station's base, by default lineside/{station}. Times are RFC 3339 in UTC.",
        },
        "defaultContentType": JSON_TYPE,
        "channels": channels,
        "operations": operations,
        "components": {"messages": messages, "schemas": schemas},
    }


def _messages(schemas: dict[str, Any]) -> dict[str, Any]:
    """Every message; what several bodies have in common goes into `schemas`."""
    jpeg = {"contentType": "image/jpeg", "payload": {"type": "string", "format": "binary"}}
    messages: dict[str, Any] = {
        "Status": {"contentType": "text/plain", "payload": {"enum": ["online", "offline"]}},
        "Snapshot": jpeg,
        "Frame": jpeg | {"description": "a JPEG, PNG, BMP, TIFF or WebP", "headers": FRAME_HEADERS},
    }
    for body in (*WIRE_BODIES, *INCOMING_BODIES):
        payload = schema(body)
        schemas |= payload.pop("$defs", {})
        messages[body.__name__] = {"contentType": JSON_TYPE, "payload": payload}
    messages["FrameReference"]["headers"] = FRAME_HEADERS
    messages["AskCommand"]["bindings"] = {"mqtt": COMMAND_BINDING | {"bindingVersion": BINDING}}
    messages["Reply"]["bindings"] = {"mqtt": REPLY_BINDING | {"bindingVersion": BINDING}}
    return messages


def _operation_binding(channel: Channel) -> dict[str, Any]:
    binding: dict[str, Any] = {} if channel.qos is None else {"qos": channel.qos}
    binding["retain"] = channel.retain
    if channel.expiry_s is not None:
        binding["messageExpiryInterval"] = channel.expiry_s
    return binding | {"bindingVersion": BINDING}


def schema(body: type[BaseModel]) -> dict[str, Any]:
    """JSON Schema (2020-12) of a message body as it stands on the wire; references are those of the document."""
    mode = "validation" if body in INCOMING_BODIES else "serialization"
    return body.model_json_schema(mode=mode, ref_template="#/components/schemas/{model}")  # type: ignore[arg-type]


def render() -> str:
    return json.dumps(document(), indent=2) + "\n"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(render(), encoding="utf-8")
