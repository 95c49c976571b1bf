"""The AsyncAPI 3 description, from the code's own messages.

`python -m lineside.edge.wire.asyncapi deploy/asyncapi.json` writes it.

A test compares the file with what this module makes, so the description cannot fall behind.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from lineside import __version__
from lineside.edge.wire.messages import INCOMING_BODIES, WIRE_BODIES

CHANNELS: tuple[tuple[str, str, str, str], ...] = (
    ("status", "send", "Status", "QoS 1, retained; also the will, 5 s after the connection is lost"),
    ("info", "send", "Info", "QoS 1, retained"),
    ("health", "send", "Health", "QoS 1, retained, expires after 60 s"),
    ("result/{camera}", "send", "InspectionResult", "QoS 1, kept on disk until acknowledged"),
    ("event/{source}", "send", "Event ToolEvent", "a camera's or a tool's; QoS 1, kept on disk until acknowledged"),
    ("state/{camera}", "send", "State", "QoS 1, retained"),
    ("snapshot/{camera}", "send", "Picture", "QoS 0, retained: the frame with its boxes drawn"),
    ("rsp/{command}", "send", "Reply", "QoS 1, unless the command named a response topic"),
    ("call/{tool}", "send", "Call", "QoS 1, with an expiry"),
    ("ret/{tool}", "receive", "Return", "QoS 1; a retained message is ignored"),
    ("confirm/{tool}", "receive", "Confirmation", "QoS 1; a retained message is ignored"),
    ("cmd/{command}", "receive", "AskCommand", "QoS 1, or plain UTF-8 text; a retained message is ignored"),
    ("frame/{camera}", "receive", "Picture FrameReference", "QoS 0: the latest wins; QoS 1: each is answered"),
)


def document() -> dict[str, Any]:
    """The whole description as plain data."""
    messages: dict[str, Any] = {
        "Status": {"contentType": "text/plain", "payload": {"enum": ["online", "offline"]}},
        "Picture": {"contentType": "image/jpeg", "payload": {"type": "string", "format": "binary"}},
    }
    for body in (*WIRE_BODIES, *INCOMING_BODIES):
        messages[body.__name__] = {"contentType": "application/json", "payload": schema(body)}
    channels, operations = {}, {}
    for address, action, names, note in CHANNELS:
        channel = address.partition("/")[0]
        channels[channel] = {
            "address": f"{{base}}/{address}",
            "description": note,
            "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in names.split()},
        }
        operations[f"{action}_{channel}"] = {"action": action, "channel": {"$ref": f"#/channels/{channel}"}}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Lineside station",
            "version": __version__,
            "description": "Topics below a station's base, by default lineside/{station}. Times are RFC 3339 in UTC.",
        },
        "defaultContentType": "application/json",
        "channels": channels,
        "operations": operations,
        "components": {"messages": messages},
    }


def schema(body: type[BaseModel]) -> dict[str, Any]:
    """JSON Schema (2020-12) of a message body as it stands on the wire."""
    mode = "validation" if body in INCOMING_BODIES else "serialization"
    return body.model_json_schema(mode=mode)  # type: ignore[arg-type]


def render() -> str:
    return json.dumps(document(), indent=2) + "\n"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(render(), encoding="utf-8")
