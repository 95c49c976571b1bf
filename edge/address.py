"""Where something is: a name or an address, and a port; a URL; a node of a server."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

from lineside.devices.cameras.masking import masked

ADDRESS = re.compile(r"(?:\[(?P<six>[^\[\]\s]+)\]|(?P<name>[^:\[\]/\s]+))(?::(?P<port>\d{1,5}))?")

NODE = re.compile(r"(ns=[0-9]{1,5};)?(i=[0-9]{1,10}|s=.+|g=[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}|b=.+)")
"""A node of an OPC UA server."""


def parse_address(text: str, port: int) -> tuple[str, int]:
    """Host and port of `name`, `name:port`, `[address]:port` or an IPv6 address alone; `port` where it names none.

    Raises:
        ValueError: it is none of these.
    """
    if text.count(":") > 1 and not text.startswith("["):
        return str(ipaddress.ip_address(text)), port
    match = ADDRESS.fullmatch(text)
    number = int(match["port"] or port) if match is not None else 0
    if match is None or not 1 <= number <= 65535:
        raise ValueError(f"{text!r} is not a name, or a name and a port")
    return match["six"] or match["name"], number


def show_address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_loopback(host: str) -> bool:
    """Whether it is this machine itself, without a look-up."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.rstrip(".").lower() == "localhost"


def wrong_in_url(address: str, schemes: tuple[str, ...]) -> str:
    """Empty where nothing is."""
    try:
        parts = urlsplit(address)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        return f"is no address: {masked(str(error))}"
    if parts.scheme not in schemes:
        return f"does not begin with {' or '.join(f'{one}://' for one in schemes)}"
    return "" if host else "names no host"


def host_and_port(address: str, port: int = 502) -> tuple[str, int]:
    """Of `host`, `host:port` or `[::1]:port`; raises ValueError."""
    parts = urlsplit(f"//{address}")
    if not parts.hostname or parts.path or parts.query or parts.username:
        raise ValueError(address)
    return parts.hostname, parts.port or port
