"""A real Home Assistant core with MQTT alone, driven by lines of JSON. It runs in an environment of its own
(`build/home-assistant`, Python 3.13), and imports nothing of Lineside.

    python home_assistant_core.py FOLDER BROKER_PORT HTTP_PORT

Each line on its standard input asks, one on its standard output answers:
`states`; `call` (`domain`, `service`, `data`); `entities`, with what each schema kept and dropped of its payload;
`devices`; `logs`, warnings of its own.
"""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import sys
from pathlib import Path
from types import MappingProxyType
from typing import Any

WARNINGS: list[str] = []
OUTSIDE: list[str] = []
LOOPBACK = ("127.0.0.1", "localhost", "::1", "", None)


def watch(event: str, arguments: tuple[Any, ...]) -> None:
    """Nothing outside of this machine is reached for. A UDP socket that is connected sends nothing by that."""
    if event == "socket.getaddrinfo" and arguments[0] not in LOOPBACK:
        OUTSIDE.append(f"looks up {arguments[0]}")
    elif event in ("socket.connect", "socket.sendto") and isinstance(arguments[1], tuple):
        harmless = event == "socket.connect" and arguments[0].type == socket.SOCK_DGRAM
        if arguments[1][0] not in LOOPBACK and not harmless:
            OUTSIDE.append(f"{event} {arguments[1][0]}")


class Warnings(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        WARNINGS.append(f"{record.name}: {record.getMessage()}")


async def start(folder: str, broker: int, port: int) -> Any:
    from homeassistant import bootstrap, core, loader
    from homeassistant.auth import auth_manager_from_config
    from homeassistant.config_entries import ConfigEntries, ConfigEntry
    from homeassistant.helpers import frame
    from homeassistant.setup import async_setup_component

    (Path(folder) / "configuration.yaml").touch()
    hass = core.HomeAssistant(folder)
    hass.config.skip_pip = True
    loader.async_setup(hass)
    frame.async_setup(hass)
    hass.config_entries = ConfigEntries(hass, {})
    await bootstrap.async_load_base_functionality(hass)
    hass.auth = await auth_manager_from_config(hass, [{"type": "homeassistant"}], [])
    settings = {"http": {"server_host": ["127.0.0.1"], "server_port": port}}
    assert await async_setup_component(hass, "http", settings)
    entry = ConfigEntry(
        data={"broker": "127.0.0.1", "port": broker, "protocol": "5"},
        discovery_keys=MappingProxyType({}),
        domain="mqtt",
        minor_version=2,
        options={"discovery": True, "discovery_prefix": "homeassistant"},
        source="user",
        subentries_data=None,
        title="MQTT",
        unique_id=None,
        version=1,
    )
    await hass.config_entries.async_add(entry)
    await hass.async_start()
    return hass


def states(hass: Any) -> dict[str, Any]:
    """By entity id: its state, and its attributes."""
    return {state.entity_id: {"state": state.state, **state.attributes} for state in hass.states.async_all()}


def entities(hass: Any) -> dict[str, Any]:
    """By unique id: the entity, its device, and the keys of its payload that the schema has dropped."""
    from homeassistant.helpers import entity_registry
    from homeassistant.helpers.entity_platform import async_get_platforms

    registry, found = entity_registry.async_get(hass), {}
    for platform in async_get_platforms(hass, "mqtt"):
        for entity_id, entity in platform.entities.items():
            payload = dict(entity._discovery_data["discovery_payload"])
            registered = registry.async_get(entity_id)
            found[entity.unique_id] = {
                "entity_id": entity_id,
                "device": registered.device_id,
                "category": registered.entity_category,
                "dropped": sorted(payload.keys() - entity._config.keys()),
            }
    return found


def devices(hass: Any) -> dict[str, Any]:
    """By identifier: name, model, and the identifier of the device that it hangs on."""
    from homeassistant.helpers import device_registry

    registry = device_registry.async_get(hass)
    found = {}
    for device in registry.devices.values():
        via = registry.async_get(device.via_device_id) if device.via_device_id else None
        said = {"name": device.name, "model": device.model, "id": device.id}
        found[next(iter(device.identifiers))[1]] = said | {"via": next(iter(via.identifiers))[1] if via else None}
    return found


async def image(hass: Any, entity_id: str) -> int:
    """How many bytes its picture has."""
    from homeassistant.components.image import DATA_COMPONENT

    entity = hass.data[DATA_COMPONENT].get_entity(entity_id)
    return len(await entity.async_image() or b"")


async def answer(hass: Any, asked: dict[str, Any]) -> Any:
    match asked["do"]:
        case "states":
            return states(hass)
        case "entities":
            return entities(hass)
        case "devices":
            return devices(hass)
        case "image":
            return await image(hass, asked["entity_id"])
        case "call":
            await hass.services.async_call(asked["domain"], asked["service"], asked["data"], blocking=True)
            return None
        case "logs":
            return {"warnings": WARNINGS, "outside": OUTSIDE}
    raise ValueError(asked["do"])


def say(body: Any) -> None:
    sys.stdout.write(json.dumps(body, default=str) + "\n")
    sys.stdout.flush()


async def main() -> None:
    from homeassistant.exceptions import HomeAssistantError
    from voluptuous import Invalid

    folder, broker, port = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    hass = await start(folder, broker, port)
    say("started")
    while line := await asyncio.to_thread(sys.stdin.readline):
        try:
            said = {"answer": await answer(hass, json.loads(line))}
        except (HomeAssistantError, Invalid, LookupError, ValueError) as error:  # told to the test
            said = {"error": repr(error)}
        say(said)
    await hass.async_stop(force=True)


if __name__ == "__main__":
    sys.addaudithook(watch)
    logging.getLogger().addHandler(Warnings(logging.WARNING))
    asyncio.run(main())
