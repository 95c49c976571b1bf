"""Where a broker is: a name or an address, and a port."""

from __future__ import annotations

import ipaddress
import re

ADDRESS = re.compile(r"(?:\[(?P<six>[^\[\]\s]+)\]|(?P<name>[^:\[\]/\s]+))(?::(?P<port>\d{1,5}))?")


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
