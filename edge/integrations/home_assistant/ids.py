"""What Home Assistant knows a station and its parts by. Two stations on one broker never share an id."""

from __future__ import annotations

import hashlib
import re


def station_id(base: str) -> str:
    """By the base topic: `lineside/press4` is `lineside_press4`. Where letters, digits and / are not all that it has,
    a hash behind it keeps it apart from others.
    """
    return _plain(base, r"[A-Za-z0-9/]+")


def camera_id(base: str, camera: str) -> str:
    return f"{station_id(base)}-{camera}"


def key_of(*parts: str) -> str:
    """A component's name within its device, and the last part of its unique id."""
    return "-".join(_plain(part, r"[A-Za-z0-9_]+") for part in parts)


def discovery_topic(prefix: str, device: str) -> str:
    return f"{prefix}/device/{device}/config"


def spoken(name: str) -> str:
    """A name of the station file as people write: `set_light` is `Set light`."""
    words = re.sub(r"[_-]+", " ", name).strip() or name
    return words[:1].upper() + words[1:]


def _plain(text: str, pattern: str) -> str:
    plain = re.sub(r"[^A-Za-z0-9_]", "_", text)
    if re.fullmatch(pattern, text):
        return plain
    return f"{plain}_{hashlib.sha256(text.encode()).hexdigest()[:6]}"
