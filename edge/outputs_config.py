"""What the station file says of an output."""

from __future__ import annotations

from dataclasses import field
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr
from pydantic.dataclasses import dataclass

from lineside.edge.tool_config import STRICT, Pin

OutputKind = Literal["modbus", "gpio", "opcua", "mqtt", "http"]
Level = Literal["on", "off", "keep"]
On = Literal["pass", "fail", "unsure"]


@dataclass(frozen=True, config=STRICT)
class OutputConfig:
    """`[outputs.NAME]`: what a verdict does to a machine, and what happens where there is none. No safety function."""

    kind: OutputKind
    """`modbus`: a coil or register of a PLC. `gpio`: a pin of the board. `opcua`: a node of an OPC UA server. `mqtt`: a
    message on a topic. `http`: a call."""
    on: On | tuple[On, ...] = "fail"
    """The verdict that switches it on, or several; any other switches it off, as far as nothing else is said below."""
    cameras: tuple[str, ...] = ()
    """Names of `[cameras]` and `[triggers]` whose verdicts it takes; of all where it is empty."""
    delay_s: Annotated[float, Field(ge=0, le=600)] = 0.0
    """How long after the part's capture (or its trigger) it is done: how long the part travels from the camera to the
    arm. 0: as soon as the verdict is there."""
    deadline_s: Annotated[float, Field(ge=0, le=600)] = 0.0
    """The latest that it is done after the capture; whatever comes later is `late` and is not done. Where it is 0,
    `delay_s`; and where that is 0, too, `inspect.max_age_s`."""
    pulse_s: Annotated[float, Field(ge=0, le=600)] = 0.0
    """How long it stays on. Pulses that overlap are one, which ends so long after the last began. 0: it stays until the
    next verdict."""
    safe: Level = "off"
    """Its state while the station cannot vouch for it: at the start, without a model, while one of its cameras gives no
    pictures or is switched off, while one of its triggers is lost or the pipeline is stuck, and when the station stops.
    Verdicts do nothing meanwhile, except with `keep`."""
    on_unsure: Level = "off"
    """What `unsure` does where `on` does not name it."""
    on_error: Level = "off"
    """What a frame does that was rejected, and has no verdict."""
    on_late: Level = "keep"
    """What is done, at once, where a verdict comes too late."""
    heartbeat_s: Annotated[float, Field(ge=0, le=60)] = 0.0
    """More than 0 makes it a heartbeat in place of all that: it changes so often while the pipeline is alive and has a
    model. A register counts up, anything else goes on and off in turn."""
    address: str = ""
    """With `modbus`: the PLC, as `host` or `host:port` (port 502 where it is left out). With `opcua`: the server, such
    as `opc.tcp://plc:4840`. With `http`: the address that is called."""
    unit: Annotated[int, Field(ge=0, le=255)] = 1
    """With `modbus`: the unit identifier of the device."""
    coil: Annotated[int, Field(ge=0, le=65535)] | None = None
    """With `modbus`: the address of the coil, counted from 0."""
    register: Annotated[int, Field(ge=0, le=65535)] | None = None
    """With `modbus`: a holding register in place of a coil, counted from 0; it gets 1 and 0."""
    pin: Pin = ""
    """With `gpio`: the pin as gpiozero names it, such as `GPIO17` or `BOARD11`."""
    active_high: bool = True
    """With `gpio`: `false` where the pin is low for on."""
    node: str = ""
    """With `opcua`: the node, such as `ns=2;s=Cell.Reject`; it gets true and false, or 1 and 0 where it holds
    numbers."""
    topic: str = ""
    """With `mqtt`: the topic."""
    retain: bool = False
    """With `mqtt`: whether the broker keeps the message for later subscribers."""
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = "POST"
    """With `http`: the method."""
    payload: str | dict[str, Any] | list[Any] | None = None
    """With `mqtt` and `http`: text or JSON with Jinja2 templates over `on`, `count`, `output`, `verdict`, `camera`,
    `part_id`, `id` and `captured_at`. Where it makes an empty text nothing is sent. All of them as JSON where it is
    left out."""
    headers: dict[str, SecretStr] = field(default_factory=dict)
    """With `http`: headers of the call. A value `$NAME` is that of the station's variable."""
    timeout_s: Annotated[float, Field(gt=0, le=60)] = 1.0
    """How long the other side may take to answer."""

    @property
    def verdicts(self) -> tuple[On, ...]:
        """Those that switch it on."""
        return (self.on,) if isinstance(self.on, str) else self.on

    def latest_s(self, max_age_s: float) -> float:
        """How long after the capture it may be done at most."""
        return self.deadline_s or self.delay_s or max_age_s

    def takes(self, camera: str) -> bool:
        """Whether it takes the verdicts of this camera or trigger."""
        return not self.heartbeat_s and (not self.cameras or camera in self.cameras)
