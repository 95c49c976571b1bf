"""What Zigbee2MQTT lists on `bridge/devices` and `bridge/groups`. Every word of it comes from a stranger.

Source: zigbee2mqtt.io, "MQTT topics and messages" and "Exposes".
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lineside.edge.errors import EdgeError
from lineside.runtime.text.strict_json import load_json

SPECIFIC = ("light", "switch", "cover", "lock", "fan", "climate")
MAX_ABOUT = 200


@dataclass(frozen=True)
class Listed:
    """A device or a group, by its friendly name.

    Attributes:
        about: vendor, model and description, as Zigbee2MQTT knows them.
        exposes: what it can do; of a group what all its members can.
    """

    name: str
    about: str
    exposes: Sequence[Mapping[str, Any]]

    def differs(self, other: Listed) -> bool:
        """Whether it can do something else by now."""
        return _canonical(self.exposes) != _canonical(other.exposes)


def read_listing(devices: bytes, groups: bytes) -> dict[str, Listed]:
    """Every device and group; of `groups` an empty payload says that there are none.

    Raises:
        EdgeError: a payload is no list of tables.
    """
    found: dict[str, Listed] = {}
    by_address: dict[str, Listed] = {}
    for entry in _entries(devices, "devices"):
        definition = entry.get("definition")
        if not isinstance(definition, Mapping) or not isinstance(entry.get("friendly_name"), str):
            continue  # the coordinator, and what Zigbee2MQTT does not support
        words = (definition.get(key) for key in ("vendor", "model", "description"))
        about = " ".join(" ".join(str(word) for word in words if word).split())[:MAX_ABOUT]
        exposes = definition.get("exposes")
        known = [each for each in exposes if isinstance(each, Mapping)] if isinstance(exposes, list) else []
        listed = Listed(entry["friendly_name"], about, known)
        found[listed.name] = by_address[str(entry.get("ieee_address"))] = listed
    for entry in _entries(groups, "groups") if groups else ():
        name, members = entry.get("friendly_name"), entry.get("members")
        if not isinstance(name, str) or not isinstance(members, list):
            continue
        inside = [by_address.get(str(each.get("ieee_address"))) for each in members if isinstance(each, Mapping)]
        there = [member for member in inside if member is not None]
        if there and len(there) == len(members):
            found.setdefault(name, Listed(name, f"group of {len(there)}", _common(there)))
    return found


def to_file(listing: Mapping[str, Listed], base_topic: str) -> bytes:
    """What is kept for a start without the broker."""
    devices = [{"name": each.name, "about": each.about, "exposes": each.exposes} for each in listing.values()]
    return json.dumps({"base_topic": base_topic, "devices": devices}, indent=1, sort_keys=True).encode()


def from_file(content: bytes, base_topic: str) -> dict[str, Listed]:
    """What was kept, where it is of this base topic. Raises EdgeError where it is damaged."""
    try:
        body = load_json(content.decode())
        if body["base_topic"] != base_topic:
            return {}
        return {
            str(each["name"]): Listed(str(each["name"]), str(each["about"]), list(each["exposes"]))
            for each in body["devices"]
        }
    except (ValueError, KeyError, TypeError) as error:
        raise EdgeError(f"it is damaged ({error})") from error


def _entries(payload: bytes, what: str) -> Iterable[Mapping[str, Any]]:
    try:
        body = load_json(payload.decode())
    except ValueError as error:
        raise EdgeError(f"bridge/{what} is not JSON ({error})") from error
    if not isinstance(body, list):
        raise EdgeError(f"bridge/{what} is no list")
    return [entry for entry in body if isinstance(entry, Mapping)]


def _common(members: Sequence[Listed]) -> list[Mapping[str, Any]]:
    """What every member of a group can do in the same way: of lights, switches and the like alone."""
    first, *others = (
        {str(each["type"]): each for each in member.exposes if each.get("type") in SPECIFIC and "endpoint" not in each}
        for member in members
    )
    found: list[Mapping[str, Any]] = []
    for kind, expose in first.items():
        theirs = [other[kind] for other in others if kind in other]
        if len(theirs) < len(others):
            continue
        inside = [{_canonical(feature) for feature in _parts(each)} for each in theirs]
        shared = [part for part in _parts(expose) if all(_canonical(part) in features for features in inside)]
        if shared:
            found.append({**expose, "features": shared})
    return found


def _parts(expose: Mapping[str, Any]) -> list[Any]:
    features = expose.get("features")
    return features if isinstance(features, list) else []


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True)
