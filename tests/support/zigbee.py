"""What Zigbee2MQTT publishes of a home's devices, and a hand-written fake of one: a lamp, a plug, a radiator valve, a
blind, a garage door, a motion sensor, a lock, and a group."""

from __future__ import annotations

import json
import zlib
from typing import Any

import paho.mqtt.client as paho

from tests.support.client import Client

BASE = "zigbee2mqtt"


def binary(name: str, on: Any, off: Any, access: int, **more: Any) -> dict[str, Any]:
    label = name.replace("_", " ").capitalize()
    values = {"value_on": on, "value_off": off}
    return {"type": "binary", "name": name, "label": label, "property": name, "access": access} | values | more


def numeric(name: str, access: int, **more: Any) -> dict[str, Any]:
    label = name.replace("_", " ").capitalize()
    return {"type": "numeric", "name": name, "label": label, "property": name, "access": access} | more


def choice(name: str, values: list[str], access: int, **more: Any) -> dict[str, Any]:
    label = name.replace("_", " ").capitalize()
    return {"type": "enum", "name": name, "label": label, "property": name, "access": access, "values": values} | more


STATE = binary("state", "ON", "OFF", 7, value_toggle="TOGGLE", description="On/off state of this light")
LINK = numeric("linkquality", 1, value_min=0, value_max=255, unit="lqi", category="diagnostic")
LIGHT = {
    "type": "light",
    "features": [
        STATE,
        numeric("brightness", 7, value_min=0, value_max=254, description="Brightness of this light"),
        numeric(
            "color_temp",
            7,
            value_min=153,
            value_max=500,
            unit="mired",
            presets=[
                {"name": "coolest", "value": 153, "description": "Coolest temperature supported"},
                {"name": "cool", "value": 250, "description": "Cool temperature (250 mireds / 4000 Kelvin)"},
                {"name": "warm", "value": 370, "description": "Warm temperature (370 mireds / 2700 Kelvin)"},
            ],
        ),
        {
            "type": "composite",
            "name": "color_xy",
            "property": "color",
            "label": "Color (X/Y)",
            "features": [numeric("x", 7), numeric("y", 7)],
        },
    ],
}
EFFECT = choice("effect", ["blink", "breathe", "okay"], 2, description="Triggers an effect on the light")
EXPOSES: dict[str, list[dict[str, Any]]] = {
    "kitchen_lamp": [LIGHT, EFFECT, choice("power_on_behavior", ["off", "on"], 7, category="config"), LINK],
    "hall/ceiling": [LIGHT, EFFECT, LINK],
    "heater plug": [
        {"type": "switch", "features": [binary("state", "ON", "OFF", 7, value_toggle="TOGGLE")]},
        numeric("power", 5, unit="W"),
        numeric("energy", 1, unit="kWh"),
        LINK,
    ],
    "radiator": [
        {
            "type": "climate",
            "features": [
                numeric("occupied_heating_setpoint", 7, value_min=5, value_max=30, value_step=0.5, unit="°C"),
                numeric("local_temperature", 5, unit="°C"),
                choice("system_mode", ["off", "auto", "heat"], 7),
                choice("running_state", ["idle", "heat"], 5),
            ],
        },
        binary("child_lock", "LOCK", "UNLOCK", 7, category="config"),
        numeric("battery", 1, value_min=0, value_max=100, unit="%", category="diagnostic"),
    ],
    "blind": [
        {
            "type": "cover",
            "features": [
                choice("state", ["OPEN", "CLOSE", "STOP"], 7),
                numeric("position", 7, value_min=0, value_max=100, unit="%"),
            ],
        }
    ],
    "garage": [{"type": "cover", "features": [choice("state", ["OPEN", "CLOSE", "STOP"], 7)]}],
    "porch": [
        binary("occupancy", True, False, 1, description="Indicates whether the device detected occupancy"),
        numeric("temperature", 1, unit="°C"),
        numeric("illuminance", 1, unit="lx"),
        LINK,
    ],
    "front door": [
        {
            "type": "lock",
            "features": [
                binary("state", "LOCK", "UNLOCK", 7),
                choice("lock_state", ["not_fully_locked", "locked", "unlocked"], 1),
            ],
        }
    ],
    "two gang": [
        {
            "type": "switch",
            "endpoint": side,
            "features": [binary("state", "ON", "OFF", 7, endpoint=side) | {"property": f"state_{side}"}],
        }
        for side in ("left", "right")
    ],
}
COORDINATOR = {
    "ieee_address": "0x00124b00120144ae",
    "type": "Coordinator",
    "network_address": 0,
    "supported": False,
    "friendly_name": "Coordinator",
    "definition": None,
    "endpoints": {"1": {"bindings": [], "configured_reportings": [], "clusters": {"input": [], "output": []}}},
}


def devices(exposes: dict[str, list[dict[str, Any]]] | None = None) -> bytes:
    """The payload of `bridge/devices`."""
    found: list[dict[str, Any]] = [COORDINATOR]
    for name, each in (exposes or EXPOSES).items():
        found.append(
            {
                "ieee_address": address(name),
                "type": "Router",
                "network_address": 29159,
                "supported": True,
                "disabled": False,
                "friendly_name": name,
                "definition": {"model": "M1", "vendor": "Maker", "description": "", "options": [], "exposes": each},
                "power_source": "Mains (single phase)",
                "interview_completed": True,
                "interviewing": False,
            }
        )
    return json.dumps(found).encode()


def address(name: str) -> str:
    return f"0x00158d00{zlib.crc32(name.encode()):08x}"


def groups() -> bytes:
    """The payload of `bridge/groups`: the two lamps."""
    members = [{"ieee_address": address(name), "endpoint": 11} for name in ("kitchen_lamp", "hall/ceiling")]
    return json.dumps([{"id": 1, "friendly_name": "lamps", "scenes": [], "members": members}]).encode()


class Bridge(Client):
    """Zigbee2MQTT with a lamp that does what it is told, on and off. Everything is retained.

    Attributes:
        told: what came on `/set` of any device.
    """

    def __init__(self, port: int) -> None:
        self.told: list[tuple[str, dict[str, Any]]] = []
        self.lamp: dict[str, Any] = {"state": "OFF", "brightness": 254, "linkquality": 120}
        super().__init__(port, f"{BASE}/+/set")
        self.say("bridge/state", json.dumps({"state": "online"}).encode())
        self.say("bridge/groups", groups())
        self.say("bridge/devices", devices())
        self.say("kitchen_lamp/availability", b'{"state": "online"}')

    def say(self, name: str, payload: bytes) -> None:
        self._client.publish(f"{BASE}/{name}", payload, qos=1, retain=True)

    def _handle(self, client: paho.Client, data: Any, message: paho.MQTTMessage) -> None:
        super()._handle(client, data, message)
        name = message.topic.split("/")[1]
        self.told.append((name, json.loads(message.payload)))
        if name == "kitchen_lamp":
            self.lamp |= json.loads(message.payload)
            self.say(name, json.dumps(self.lamp).encode())
