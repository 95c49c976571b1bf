"""What every actuator can do."""

from __future__ import annotations

from typing import Protocol


class Actuator(Protocol):
    """Each method returns when the other side has taken it, and raises LinkError where it has not, or nobody knows."""

    def connect(self) -> None:
        """Make the connection stand where that takes time; nothing changes at the other side."""

    def set(self, on: bool) -> None:
        """Switch it on or off, whatever it was before."""

    def count(self, number: int) -> None:
        """Show that number, or whether it is odd where there is room for no more."""

    def probe(self) -> None:
        """Whether it can be reached; nothing changes there."""

    def close(self) -> None: ...
