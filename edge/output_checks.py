"""What is wrong with `[outputs]`, besides the types of its values. Nothing is connected, and no library is loaded."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import fields
from importlib.util import find_spec
from typing import Any

from lineside.devices.cameras.masking import masked
from lineside.edge.address import NODE, host_and_port, wrong_in_url
from lineside.edge.broker_checks import Problem
from lineside.edge.config import NAME, STATION, Config
from lineside.edge.errors import ConfigError
from lineside.edge.mistakes import hint, nearest
from lineside.edge.outputs_config import OutputConfig, OutputKind
from lineside.edge.triggers_config import alone

HEARD = ("frame", "trigger", "cmd", "ret", "confirm")
"""What the station listens to, below its base topic."""
NEEDS: Mapping[OutputKind, tuple[str, ...]] = {
    "modbus": ("address",),
    "gpio": ("pin",),
    "opcua": ("address", "node"),
    "mqtt": ("topic",),
    "http": ("address",),
}
OF: Mapping[str, tuple[OutputKind, ...]] = {
    "address": ("modbus", "opcua", "http"),
    "unit": ("modbus",),
    "coil": ("modbus",),
    "register": ("modbus",),
    "pin": ("gpio",),
    "active_high": ("gpio",),
    "node": ("opcua",),
    "topic": ("mqtt",),
    "retain": ("mqtt",),
    "method": ("http",),
    "headers": ("http",),
    "payload": ("mqtt", "http"),
}
"""Keys that only some kinds have."""
VERDICT_KEYS = ("on", "cameras", "delay_s", "deadline_s", "pulse_s", "on_unsure", "on_error", "on_late")
PACKAGES: Mapping[OutputKind, tuple[str, str]] = {
    "modbus": ("pymodbus", "modbus"),
    "gpio": ("gpiozero", "gpio"),
    "opcua": ("asyncua", "opcua"),
}
ABOUT = frozenset({"on", "count", "output", "verdict", "camera", "part_id", "id", "captured_at"})
"""What a payload may use."""
NOT_IN_URL, NOT_IN_HEADER = re.compile(r"[^!-~]"), re.compile(r"[^\t -~]")
HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
DEFAULTS = {field.name: field.default for field in fields(OutputConfig) if field.name != "headers"} | {"headers": {}}


def output_problems(config: Config) -> Iterator[Problem]:
    """Every mistake there."""
    for name, output in config.outputs.items():
        above = ("outputs", name)
        for key, sentence in (
            *_name(config, name),
            *_of_kind(output),
            *_times(config, output),
            *_reach(config, output),
        ):
            yield (
                (*above, *([key] if key else [])),
                f"`{'.'.join((*above, key)) if key else '.'.join(above)}` {sentence}",
            )
        for camera in output.cameras:
            if camera not in sources(config):
                there = ", ".join(sorted(sources(config))) or "none"
                yield (
                    (*above, "cameras"),
                    (
                        f"`outputs.{name}.cameras` names {camera!r}; there is {there}"
                        + hint(nearest(camera, sources(config)))
                    ),
                )
        if output.payload is not None:
            yield from _payload(output.payload, (*above, "payload"))


def _payload(payload: Any, key: tuple[str, ...]) -> Iterator[Problem]:
    """The library of the templates is loaded where there are some."""
    from lineside.edge.templates import compile_template

    named = ".".join(key)
    try:
        compile_template(payload, named)
        unknown = _names_in(payload, named) - ABOUT
    except ConfigError as error:
        yield key, str(error)
        return
    if unknown:
        yield key, f"`{named}` uses {', '.join(sorted(unknown))}: there is {', '.join(sorted(ABOUT))}"


def _names_in(node: Any, key: str) -> set[str]:
    """The names that the templates of a text, a table or a list use."""
    from lineside.edge.templates import names_in

    if isinstance(node, str):
        return names_in(node, key)
    inner = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    return set().union(*(_names_in(item, key) for item in inner))


def sources(config: Config) -> set[str]:
    """Whatever has verdicts: triggers, and the cameras that are not looked at for a trigger alone."""
    return (set(config.cameras) - alone(config.triggers).keys()) | set(config.triggers)


def _name(config: Config, name: str) -> Iterator[tuple[str, str]]:
    if not re.fullmatch(NAME, name):
        yield "", "has a name with other characters than letters, digits, _ and -"
    if name == STATION:
        yield "", f"would speak on event/{STATION}, where the station does"
    for kind, names in (("camera", config.cameras), ("trigger", config.triggers), ("tool", config.tools)):
        if name in names:
            yield "", f"has the name of a {kind}: both would speak on event/{name}"


def _of_kind(output: OutputConfig) -> Iterator[tuple[str, str]]:
    for key in NEEDS[output.kind]:
        if not getattr(output, key):
            yield key, f"is missing: an output of kind {output.kind} needs it"
    for key, kinds in OF.items():
        if output.kind not in kinds and getattr(output, key) != DEFAULTS[key]:
            yield key, f"is a key of kind {' and '.join(kinds)}: this one is {output.kind}"
    if output.kind == "modbus" and output.coil is None and output.register is None:
        yield "coil", "is missing: an output of kind modbus needs it, or `register` in its place"
    if output.kind == "modbus" and output.coil is not None and output.register is not None:
        yield "register", f"is {output.register}, and `coil` is {output.coil}: leave one of them out, one is written"
    if output.kind in PACKAGES:
        package, extra = PACKAGES[output.kind]
        if find_spec(package) is None:
            yield "kind", f"is {output.kind}, which needs another package: pip install 'lineside[{extra}]'"


def _times(config: Config, output: OutputConfig) -> Iterator[tuple[str, str]]:
    if output.heartbeat_s:
        for key in VERDICT_KEYS:
            if getattr(output, key) != DEFAULTS[key]:
                yield key, "does nothing beside `heartbeat_s`: make it an output of its own"
    if output.deadline_s and output.deadline_s < output.delay_s:
        yield "deadline_s", "is shorter than `delay_s`: everything would be late"
    if output.delay_s > config.inspect.max_age_s:
        yield "delay_s", "is longer than `inspect.max_age_s`"
    if not output.verdicts:
        yield "on", "is empty: name `pass`, `fail` or `unsure`"


def _reach(config: Config, output: OutputConfig) -> Iterator[tuple[str, str]]:
    if output.kind == "modbus" and output.address:
        try:
            host_and_port(output.address)
        except ValueError:
            yield "address", f"{output.address!r} is neither `host` nor `host:port`"
    for kind, schemes in (("opcua", ("opc.tcp",)), ("http", ("http", "https"))):
        if output.kind == kind and output.address and (wrong := wrong_in_url(output.address, schemes)):
            yield "address", f"{masked(output.address)!r} {wrong}"
    if output.kind == "http" and "@" in output.address.partition("://")[2].partition("/")[0]:
        told = "has a login, which a call does not carry: `headers` takes an Authorization"
        yield "address", f"{masked(output.address)!r} {told}"
    if output.kind == "opcua" and output.node and not NODE.fullmatch(output.node):
        yield "node", f"{output.node!r} is no node: ns=2;s=Line1.Reject or ns=2;i=1001 would be right"
    if output.kind == "http" and NOT_IN_URL.search(output.address):
        yield (
            "address",
            f"{masked(output.address)!r} has a space, or a letter that is not ASCII: write it as %20 and the like",
        )
    for name, value in output.headers.items():
        if not HEADER_NAME.fullmatch(name) or NOT_IN_HEADER.search(value.get_secret_value()):
            yield "headers", f"has {name!r}, whose name or value is no plain ASCII in one line"
    if output.kind == "mqtt" and re.search(r"[#+\x00]|^\$", output.topic):
        yield "topic", f"{output.topic!r} is not a plain topic"
    if output.kind == "mqtt" and output.topic.startswith(tuple(f"{config.base_topic}/{kind}/" for kind in HEARD)):
        yield "topic", f"{output.topic!r} is one that the station itself listens to: it would command itself"
