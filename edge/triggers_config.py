"""What the station file says of a trigger."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from lineside.edge.tool_config import DAY_S, STRICT, Pin


@dataclass(frozen=True, config=STRICT)
class TriggerConfig:
    """`[triggers.NAME]`: what says that a part is there, and which cameras look at it. All their pictures are one
    inspection with one verdict, on `result/NAME`."""

    kind: Literal["mqtt", "timer", "gpio", "modbus", "opcua"]
    """`mqtt`: a message on `trigger/NAME`. `timer`: every `interval_s`. `gpio`: an edge on a pin of the board.
    `modbus`: a coil of a PLC. `opcua`: the value of a node of an OPC UA server."""
    cameras: Annotated[tuple[str, ...], Field(min_length=1, max_length=16)]
    """Names of `[cameras]`: one picture of each for every part."""
    wait_s: Annotated[float, Field(gt=0, le=600)] = 2.0
    """How long a picture may take to come. A camera that gives none in that time is named in the result, which is then
    `unsure` where no other camera's verdict is `fail`. The parts must be further apart than that, where pictures come
    over MQTT or from a folder and do not say whose they are."""
    delay_s: Annotated[float, Field(ge=0, le=600)] = 0.0
    """How long after the trigger the part is before the cameras; `wait_s` begins then."""
    before_s: Annotated[float, Field(ge=0, le=600)] = 0.0
    """With cameras of kind `mqtt`: a frame that came at most so long before its trigger counts, too."""
    max_waiting: Annotated[int, Field(ge=1, le=100_000)] = 1000
    """How many triggers may wait for their results; one more is refused, with an event that names it."""
    also_untriggered: bool = False
    """Whether the frames of `cameras` that no trigger asked for are inspected, too, each by itself."""
    interval_s: Annotated[float, Field(ge=0, le=DAY_S)] = 0.0
    """With `timer`: seconds between two triggers."""
    pin: Pin = ""
    """With `gpio`: the pin as gpiozero names it, such as `GPIO17` or `BOARD11`."""
    pull: Literal["up", "down", "none"] = "down"
    """With `gpio`: the board's own resistor on that pin; `none` where the circuit has one."""
    debounce_s: Annotated[float, Field(ge=0, le=10)] = 0.0
    """With `gpio`: edges that follow an edge within this time are not counted."""
    edge: Literal["rising", "falling", "both"] = "rising"
    """With `gpio`, `modbus` and `opcua`: which change triggers. A node that holds a number rises where it becomes
    larger; `both` is any change."""
    address: str = ""
    """With `modbus`: the PLC, as `host` or `host:port` (port 502 where it is left out). With `opcua`: the server, such
    as `opc.tcp://plc:4840`."""
    unit: Annotated[int, Field(ge=0, le=255)] = 1
    """With `modbus`: the unit identifier of the device."""
    coil: Annotated[int, Field(ge=0, le=65535)] = 0
    """With `modbus`: the address of the coil, counted from 0."""
    poll_ms: Annotated[int, Field(ge=1, le=60_000)] = 20
    """With `modbus`: milliseconds between two readings. The coil must hold its value for longer."""
    reset: bool = False
    """With `modbus`: the station writes the coil back to 0 when it has taken the trigger over (a handshake). A coil
    that is 1 when the connection comes to stand is a trigger then."""
    node: str = ""
    """With `opcua`: the node, such as `ns=2;s=Cell.PartReady`."""

    @property
    def moves(self) -> bool:
        """Whether it has a wire or clock of its own, and is no message."""
        return self.kind != "mqtt"


def alone(triggers: dict[str, TriggerConfig]) -> dict[str, list[str]]:
    """Cameras that are inspected for a trigger alone, with the names of their triggers."""
    named: dict[str, list[str]] = {}
    for name, trigger in triggers.items():
        for camera in trigger.cameras:
            named.setdefault(camera, []).append(name)
    streamed = {camera for trigger in triggers.values() if trigger.also_untriggered for camera in trigger.cameras}
    return {camera: names for camera, names in named.items() if camera not in streamed}
