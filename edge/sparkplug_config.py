"""What the station file says about Sparkplug B, in which a station tells its verdicts to hosts such as SCADA."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from lineside.edge.tool_config import STRICT

ID = r"^[^/+#\x00]*$"
PLAIN = "a text without /, + and #"


@dataclass(frozen=True, config=STRICT)
class SparkplugConfig:
    """The station as an edge node of Sparkplug B, and each camera as one of its devices."""

    group_id: Annotated[str, Field(pattern=ID, description=PLAIN)] = ""
    """The group; where it is empty nothing is said in Sparkplug B."""
    edge_node_id: Annotated[str, Field(pattern=ID, description=PLAIN)] = ""
    """The edge node's name; `station.name` where it is empty."""
    host_id: Annotated[str, Field(pattern=ID, description=PLAIN)] = ""
    """The primary host: while `spBv1.0/STATE/{host_id}` does not say that it is online, results are kept for it."""
    max_waiting: Annotated[int, Field(ge=10, le=1_000_000)] = 10_000
    """How many results are kept on disk for a broker or host that is away; the oldest go first when there are more."""
