"""What a station file may say about a group of stations: its keys, their types and defaults."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from lineside.edge.tool_config import STRICT

NAMED = "a name of at most 64 letters, digits, _ and -"


@dataclass(frozen=True, config=STRICT)
class GroupConfig:
    """The station shares frames and questions with others: each goes to one member of the group."""

    name: Annotated[str, Field(pattern=r"^([A-Za-z0-9_-]{1,64})?$", description=NAMED)] = ""
    """The group's name, the same in the file of each member; empty where the station is in none."""
    base_topic: str = ""
    """The group's topics are below this one. Where it is empty it is `groups/{name}`, with the station's base topic but
    for its last level before it: `lineside/groups/line-3`."""
