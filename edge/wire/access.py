"""What a further connection of the station is made of, besides its broker access."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lineside.edge.counters import Counters
from lineside.edge.degraded import Degraded


@dataclass(frozen=True)
class Access:
    """`client_id` is the station's own: a further connection has something behind it."""

    client_id: str
    session_mark: Callable[[str, bool], str]
    counters: Counters
    degraded: Degraded
