"""What the station file says of Home Assistant."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from lineside.edge.tool_config import STRICT


@dataclass(frozen=True, config=STRICT)
class DiscoveryConfig:
    """`[home_assistant]`: with this table the station announces itself to Home Assistant (2024.11 or later) by MQTT
    discovery; without it nothing is announced, and what was is taken back at the next start. What can be changed there
    is what `[remote] allow` lets through."""

    discovery_prefix: Annotated[
        str, Field(pattern=r"^[^#+\x00/$][^#+\x00]*$", description="a topic without # and +, and no / or $ before it,")
    ] = "homeassistant"
    """The discovery prefix of Home Assistant's MQTT integration."""
    cameras: tuple[str, ...] | None = None
    """The cameras that are announced, and with them the triggers that look with no others; all where it is left out."""
    tools: tuple[str, ...] | None = None
    """The tools that are announced, such as those whose devices Home Assistant does not know already; all where it is
    left out. Calling them needs `[remote] allow = ["call"]`."""
    model_source: str = ""
    """Where new models are put: a folder below the station file's, or an address on the local network. A bundle there
    that is not the one that runs is offered as an update. Needs `[remote] allow = ["model"]`."""
