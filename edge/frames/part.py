"""A part that a trigger announced: a picture of each of its cameras, looked at as one."""

from __future__ import annotations

from dataclasses import dataclass

from lineside.devices.cameras.frame import Frame
from lineside.edge.wire.views import WireMissing, WireTrigger


@dataclass(frozen=True)
class Part(Frame):
    """It takes a frame's way: `camera` is the trigger's name, `captured_at` and `received` are those of the trigger.

    Attributes:
        views: a frame of each camera that gave one, in the order of the station file.
        missing: the cameras that gave none, and why.
    """

    trigger: WireTrigger | None = None
    views: tuple[Frame, ...] = ()
    missing: tuple[WireMissing, ...] = ()
