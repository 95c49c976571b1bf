"""What a station file may say about the audit log: its keys, their types and defaults."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from lineside.edge.history_config import GIB, MIB, Days
from lineside.edge.tool_config import STRICT


@dataclass(frozen=True, config=STRICT)
class AuditConfig:
    """Every call, refusal and confirmation is written down, each line chained to the one before it."""

    enabled: bool | None = None
    """Whether it is kept. Where it is left out it is, wherever a tool may act."""
    folder: str = ""
    """The folder of the audit log, from the data folder (`station.data`). Where it is empty it lies beside the database
    and has its name: `lineside.audit`."""
    days: Days = 365.0
    """Files go after so many days, counted from their last line, the oldest first; the chain says which."""
    max_bytes: Annotated[int, Field(ge=MIB)] = GIB
    """What all files may take together. The oldest go first."""
    file_bytes: Annotated[int, Field(ge=4096)] = 8 * MIB
    """A new file is begun when the last one has so many bytes, or its first line is thirty days old."""
