"""A daemon on the default model, connected to a test's broker."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

from lineside.edge.camera_config import CameraConfig
from lineside.edge.config import Config, ModelConfig, StationConfig, StoreConfig
from lineside.edge.demo.broker import HOST
from lineside.edge.inspect_config import InspectConfig
from lineside.edge.mqtt_config import MqttConfig
from lineside.edge.tool_config import Check, ToolConfig
from lineside.edge.wire.topics import Topics
from tests.support.broker import Mosquitto

LINESIDE = (sys.executable, "-m", "lineside")
"""The command line, as a user starts it."""
THREADS = 1
"""Of an engine: other tests run beside this one, and on a busy core two threads wait for one another."""
BASE = "plant/line3/cell2"
TOPICS = Topics(BASE)
SPEED = {
    "type": "object",
    "properties": {"percent": {"type": "integer", "minimum": 0, "maximum": 100}},
    "required": ["percent"],
    "additionalProperties": False,
}
UNCHECKED: tuple[Check, ...] = ("confidence", "words", "values", "negation", "question")
"""For tests about what becomes of a call, whatever the sentence was that led to it."""
TOOLS = {
    "set_belt_speed": ToolConfig("Set the speed of the belt in percent.", SPEED, wait_s=60.0),
    "stop_line": ToolConfig("Stop the line.", wait_s=60.0),
}


def station(broker: Mosquitto | int, folder: Path, *, client_id: str = "", port: int = 0, **changes: object) -> Config:
    """A station with one MQTT camera `cam0` and two tools. However slow the machine, no frame gets too old for it."""
    access = {} if isinstance(broker, int) else broker.station_access
    port = port or (broker if isinstance(broker, int) else broker.port)
    config = Config(
        station=StationConfig("test", BASE, drain_s=0.0),
        mqtt=MqttConfig(host=HOST, port=port, client_id=client_id or "lineside-test", **access),  # type: ignore[arg-type]
        model=ModelConfig(threads=THREADS),
        inspect=InspectConfig(part="ball screw", evidence_folder="evidence", max_age_s=3600.0),
        store=StoreConfig("lineside.db"),
        cameras={"cam0": CameraConfig("mqtt")},
        tools=TOOLS,
        folder=folder,
    )
    return dataclasses.replace(config, **changes)  # type: ignore[arg-type]
