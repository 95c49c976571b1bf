"""A device as its tools see it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lineside.edge.integrations.zigbee.features import Feature
from lineside.edge.integrations.zigbee.sentences import names_pattern

HARMLESS = ("light", "fan", "climate")
WAIT_S = {"cover": 60.0, "lock": 15.0}
"""How long something that moves is waited for."""
USUAL_WAIT_S = 5.0


@dataclass(frozen=True)
class Device:
    """Attributes:
    topic: where it says its state; `/set` below it is where it is told.
    names: what people call it.
    guarded: whether it moves something that lets people in, or could hit them.
    confirm_s: how long a person has to say yes, where one is asked.
    """

    name: str
    topic: str
    names: tuple[str, ...]
    guarded: bool
    confirm_s: float

    @property
    def set_topic(self) -> str:
        return f"{self.topic}/set"

    def names_of(self, feature: Feature) -> str:
        """A pattern for what people call it; of one with several endpoints the endpoint stands behind its name."""
        return names_pattern(f"{name} {feature.endpoint}".strip() for name in self.names)

    def called(self, feature: Feature) -> str:
        """`two gang left`: its own name, and the endpoint's."""
        return f"{self.names[0]} {feature.endpoint}".strip()

    def about(self, feature: Feature) -> str:
        """`the brightness of kitchen lamp`."""
        return f"the {feature.label.lower()} of {self.called(feature)}"

    def of_action(self, feature: Feature) -> dict[str, Any]:
        """What is the same of every tool that does something."""
        asks = feature.of == "lock" or (self.guarded and feature.of not in HARMLESS)
        return {
            "device": self.name,
            "confirm_s": self.confirm_s if asks else 0.0,
            "wait_s": WAIT_S.get(feature.of, USUAL_WAIT_S),
        }
