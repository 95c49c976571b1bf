"""One device as Home Assistant's discovery wants it: who it is, who announces it, and its components."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lineside import __version__

ORIGIN = {"name": "Lineside", "sw": __version__}
Component = dict[str, Any]
COMMANDING = ("button", "number", "select", "switch", "text", "update")


@dataclass
class Device:
    """Attributes:
    id: its identifier, and the level of its discovery topic.
    about: `dev` of the message, without the identifier.
    availability: topics that all have to say that the device is there, in Home Assistant's words.
    components: by their keys, which begin with the platform.
    """

    id: str
    about: Mapping[str, str]
    availability: list[dict[str, str]]
    components: dict[str, Component] = field(default_factory=dict)

    def add(self, platform: str, key: str, name: str | None, **options: Any) -> None:
        """A component; a `name` of None is that of the device itself. Commands go out with QoS 1."""
        whole = f"{platform}-{key}"
        component = {"p": platform, "name": name, "unique_id": f"{self.id}-{whole}", **options}
        if platform in COMMANDING:
            component["qos"] = 1
        self.components[whole] = component

    def platforms(self) -> dict[str, str]:
        return {key: component["p"] for key, component in self.components.items()}

    def encode(self, gone: Mapping[str, str]) -> bytes:
        """The message. `gone` are components of before, with their platforms: naming them so takes them away."""
        stubs = {key: {"p": platform} for key, platform in gone.items()}
        body = {
            "dev": {"ids": [self.id], "cns": [], "mf": "Lineside", "sw": __version__, **self.about},
            "o": ORIGIN,
            "availability": self.availability,
            "availability_mode": "all",
            "cmps": self.components | stubs,
        }
        return json.dumps(body, ensure_ascii=False).encode()
