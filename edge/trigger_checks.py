"""What is wrong with the triggers of a station file."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.util import find_spec

from lineside.devices.cameras.masking import masked
from lineside.edge.address import NODE, host_and_port, wrong_in_url
from lineside.edge.broker_checks import Key, Problem
from lineside.edge.config import NAME, STATION, Config
from lineside.edge.mistakes import hint, nearest
from lineside.edge.triggers_config import TriggerConfig

NEEDED = {"timer": ("interval_s",), "gpio": ("pin",), "modbus": ("address",), "opcua": ("address", "node")}
LIBRARIES = {"gpio": "gpiozero", "modbus": "pymodbus", "opcua": "asyncua"}
"""What each kind needs, from the extra of the kind's name."""
QUEUES = ("mqtt", "folder")
"""Cameras whose pictures come when somebody gives them."""
ONLY = {
    "interval_s": ("timer",),
    "pin": ("gpio",),
    "pull": ("gpio",),
    "debounce_s": ("gpio",),
    "edge": ("gpio", "modbus", "opcua"),
    "address": ("modbus", "opcua"),
    "unit": ("modbus",),
    "coil": ("modbus",),
    "poll_ms": ("modbus",),
    "reset": ("modbus",),
    "node": ("opcua",),
}


def trigger_problems(config: Config) -> Iterator[Problem]:
    """Every mistake; a name must differ from those of cameras and tools, which speak on the same topics."""
    for name, trigger in config.triggers.items():
        above = ("triggers", name)
        if not re.fullmatch(NAME, name):
            yield above, f"`triggers.{name}`: a name has letters, digits, _ and - only"
        if name == STATION:
            yield above, f"`triggers.{STATION}` would speak on event/{STATION}, where the station does"
        for section, others in (("camera", config.cameras), ("tool", config.tools)):
            if name in others:
                yield above, f"`triggers.{name}` has the name of a {section}: both would speak on event/{name}"
        for camera in trigger.cameras:
            if camera not in config.cameras:
                there = ", ".join(config.cameras) or "none"
                told = f"`triggers.{name}.cameras`: no camera {camera!r}; the station has {there}"
                yield (*above, "cameras"), told + hint(nearest(camera, config.cameras))
        if len(set(trigger.cameras)) < len(trigger.cameras):
            yield (*above, "cameras"), f"`triggers.{name}.cameras` names a camera twice"
        yield from _kind(above, trigger)


def trigger_warnings(config: Config) -> Iterator[str]:
    """What is no mistake by itself, but may leave parts without a picture."""
    for name, trigger in config.triggers.items():
        sent = [camera for camera in trigger.cameras if config.cameras[camera].kind in QUEUES]
        if not sent:
            continue
        ends = f"`triggers.{name}.wait_s` is {trigger.wait_s:g}: "
        close = f"the parts must be further apart, as far as pictures of {', '.join(sent)} do not say whose they are"
        if trigger.kind == "timer" and trigger.interval_s <= trigger.wait_s:
            yield f"{ends}a part comes every {trigger.interval_s:g} s; {close}"
        else:
            yield f"{ends}{close}"


def _kind(above: Key, trigger: TriggerConfig) -> Iterator[Problem]:
    name = ".".join(above)
    for key in NEEDED.get(trigger.kind, ()):
        if not getattr(trigger, key):
            yield (*above, "kind"), f"`{name}.{key}` is missing: a trigger of kind {trigger.kind} needs it"
    for key, kinds in ONLY.items():
        if trigger.kind not in kinds and getattr(trigger, key) != TriggerConfig.__dataclass_fields__[key].default:
            yield (*above, key), f"`{name}.{key}` says nothing to a trigger of kind {trigger.kind}: leave it out"
    if (library := LIBRARIES.get(trigger.kind)) and find_spec(library) is None:
        yield (*above, "kind"), f"`{name}` needs {library}: install lineside[{trigger.kind}]"
    yield from _reach(above, trigger)
    if trigger.reset and trigger.edge != "rising":
        yield (*above, "edge"), f"`{name}.edge` must be rising where `reset` writes the coil back to 0"


def _reach(above: Key, trigger: TriggerConfig) -> Iterator[Problem]:
    name = ".".join(above)
    if trigger.kind == "opcua" and trigger.address and (wrong := wrong_in_url(trigger.address, ("opc.tcp",))):
        yield (
            (*above, "address"),
            f"`{name}.address` {masked(trigger.address)!r} {wrong}: opc.tcp://host:4840 would be right",
        )
    if trigger.kind == "opcua" and trigger.node and not NODE.fullmatch(trigger.node):
        right = "ns=2;s=Cell.PartReady or ns=2;i=1001 would be right"
        yield (*above, "node"), f"`{name}.node` {trigger.node!r} is no node: {right}"
    if trigger.kind == "modbus" and trigger.address:
        try:
            host_and_port(trigger.address)
        except ValueError:
            yield (*above, "address"), f"`{name}.address` {trigger.address!r}: host or host:port would be right"
