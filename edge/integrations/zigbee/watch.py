"""What Zigbee2MQTT says of its devices: pinned as they were at the start, and why one is not called any more."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping

from lineside.edge.degraded import Degraded
from lineside.edge.errors import EdgeError
from lineside.edge.integrations.zigbee.listing import Listed, read_listing
from lineside.edge.integrations.zigbee.offered import ABOUT
from lineside.runtime.text.strict_json import load_json

log = logging.getLogger("lineside.zigbee2mqtt")
MAX_PAYLOAD_BYTES = 16 * 1024 * 1024
AGAIN = "look at it, and start the station again"


class DeviceWatch:
    """Hears `bridge/devices`, `bridge/groups`, `bridge/state` and the availability of the devices that are named.

    Attributes:
        first: the devices as they were when `pin` was called: what the tools were made of.
        forget: called with the topic of a device that is offline: what it said last is none of now.
    """

    def __init__(self, base_topic: str, names: Iterable[str], degraded: Degraded) -> None:
        self._base, self._names, self._degraded = base_topic, tuple(names), degraded
        self._payloads: dict[str, bytes] = {}
        self._now: dict[str, Listed] | None = None
        self._problem = ""
        self._changed: set[str] = set()
        self._offline: set[str] = set()
        self._bridge_offline = False
        self.first: Mapping[str, Listed] = {}
        self._pinned = False
        self.forget: Callable[[str], None] = lambda _topic: None

    @property
    def topics(self) -> list[str]:
        """What must be subscribed to, groups before devices."""
        bridge = [f"{self._base}/bridge/{name}" for name in ("state", "groups", "devices")]
        return [*bridge, *(f"{self._base}/{name}/availability" for name in self._names)]

    @property
    def listing(self) -> dict[str, Listed] | None:
        """What is known of the devices that are named; None where Zigbee2MQTT has not listed them."""
        if self._now is None:
            return None
        return {name: self._now[name] for name in self._names if name in self._now}

    @property
    def is_complete(self) -> bool:
        """Whether nothing more is to be waited for."""
        listing = self.listing
        return listing is not None and ("groups" in self._payloads or len(listing) == len(self._names))

    def pin(self, listing: Mapping[str, Listed]) -> None:
        """From now on the devices are compared with these."""
        self.first, self._pinned = dict(listing), True
        self._compare()

    def take(self, topic: str, payload: bytes) -> None:
        """On the network thread."""
        name = topic.removeprefix(f"{self._base}/")
        if name == "bridge/state":
            self._bridge_offline = _is_offline(payload)
            self._say(f"{ABOUT}.bridge", "Zigbee2MQTT is offline" if self._bridge_offline else "")
        elif name in ("bridge/devices", "bridge/groups"):
            self._list(name.removeprefix("bridge/"), payload)
        elif name.endswith("/availability"):
            self._available(name.removesuffix("/availability"), not _is_offline(payload))

    def refusal(self, device: str) -> str:
        """Why the device is not called now; nothing where it may be."""
        if self._bridge_offline:
            return "Zigbee2MQTT is offline: nothing was sent"
        if device in self._changed:
            return f"what {device} can do has changed since the station started: {AGAIN}"
        if self._now is not None and self._gone(device):
            return f"Zigbee2MQTT does not list {device} any more"
        if device in self._offline:
            return f"{device} is offline: nothing was sent"
        return ""

    def _list(self, what: str, payload: bytes) -> None:
        if len(payload) > MAX_PAYLOAD_BYTES:
            log.warning("bridge/%s has %d bytes: it is not read", what, len(payload))
            return
        self._payloads[what] = payload
        if "devices" in self._payloads:
            try:
                self._now = read_listing(self._payloads["devices"], self._payloads.get("groups", b""))
                self._say(f"{ABOUT}.listing", "")
            except EdgeError as error:
                self._say(f"{ABOUT}.listing", f"{self._base}: {error}: the last list of devices counts")
        self._compare()

    def _compare(self) -> None:
        if not self._pinned or self._now is None:
            return
        self._say(f"{ABOUT}.start", "")
        for name, listed in self.first.items():
            key = f"{ABOUT}.devices.{name}.now"
            if name in self._now and listed.differs(self._now[name]):
                self._changed.add(name)
            if name in self._changed:
                self._say(key, f"{ABOUT}.devices.{name} is not called: what it can do has changed: {AGAIN}")
            elif self._gone(name):
                self._say(key, f"{ABOUT}.devices.{name} is not called: Zigbee2MQTT does not list it any more")
            else:
                self._say(key, "")
        for name in (self.listing or {}).keys() - self.first.keys():
            key = f"{ABOUT}.devices.{name}"
            self._say(key, f"{key} is not offered: it came after the station's start: {AGAIN}")

    def _gone(self, name: str) -> bool:
        """A group is not until the groups have been heard of."""
        return self._now is not None and name not in self._now and self.is_complete

    def _available(self, name: str, available: bool) -> None:
        if available:
            self._offline.discard(name)
        elif name in self._names:
            self._offline.add(name)
            self.forget(f"{self._base}/{name}")
        self._say(f"{ABOUT}.devices.{name}.offline", "" if available else f"{ABOUT}.devices.{name} is offline")

    def _say(self, key: str, sentence: str) -> None:
        if not sentence:
            self._degraded.clear(key)
        elif self._degraded.set(key, sentence):
            log.warning("%s", sentence)


def _is_offline(payload: bytes) -> bool:
    """Zigbee2MQTT writes `offline`, or `{"state": "offline"}`."""
    try:
        text = payload.decode()
        body = load_json(text) if text.lstrip().startswith("{") else text
    except ValueError:
        return False
    state = body.get("state") if isinstance(body, dict) else body
    return isinstance(state, str) and state.strip().casefold() == "offline"
