"""Topic names below the station's base: building them, and reading who an incoming message is for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Incoming = Literal["frame", "trigger", "cmd", "ret", "confirm"]
INCOMING: tuple[Incoming, ...] = ("frame", "trigger", "cmd", "ret", "confirm")


@dataclass(frozen=True)
class Topics:
    """All topics of one station; `base` is for example `lineside/press4`."""

    base: str

    @property
    def status(self) -> str:
        return f"{self.base}/status"

    @property
    def info(self) -> str:
        return f"{self.base}/info"

    @property
    def health(self) -> str:
        return f"{self.base}/health"

    def result(self, camera: str) -> str:
        return f"{self.base}/result/{camera}"

    def state(self, camera: str) -> str:
        return f"{self.base}/state/{camera}"

    def event(self, source: str) -> str:
        """Of a camera, a trigger, a tool or an output."""
        return f"{self.base}/event/{source}"

    def snapshot(self, camera: str) -> str:
        return f"{self.base}/snapshot/{camera}"

    def frame(self, camera: str) -> str:
        return f"{self.base}/frame/{camera}"

    def trigger(self, name: str) -> str:
        return f"{self.base}/trigger/{name}"

    def command(self, name: str) -> str:
        return f"{self.base}/cmd/{name}"

    def response(self, command: str) -> str:
        return f"{self.base}/rsp/{command}"

    def call(self, tool: str) -> str:
        return f"{self.base}/call/{tool}"

    def returned(self, tool: str) -> str:
        return f"{self.base}/ret/{tool}"

    def confirm(self, tool: str) -> str:
        return f"{self.base}/confirm/{tool}"

    def subscriptions(self, *, triggers: bool = False) -> list[tuple[str, int]]:
        """Topic filters with their QoS, of everything but frames; of triggers where the station has any."""
        left_out = ("frame",) if triggers else ("frame", "trigger")
        return [(f"{self.base}/{kind}/+", 1) for kind in INCOMING if kind not in left_out]

    def left(self, *, triggers: bool) -> tuple[str, ...]:
        """Topic filters that an earlier run may have left in the broker's session."""
        return (self.frame("+"), *(() if triggers else (self.trigger("+"),)))

    def frame_subscriptions(self) -> list[tuple[str, int]]:
        """Of the frames, which come on a connection of their own."""
        return [(self.frame("+"), 1)]

    def parse(self, topic: str) -> tuple[Incoming, str] | None:
        """Kind and name of an incoming topic, or None where it is not one of ours."""
        kind, _, name = topic.removeprefix(f"{self.base}/").partition("/")
        for known in INCOMING:
            if kind == known and name and "/" not in name and topic.startswith(f"{self.base}/"):
                return known, name
        return None


@dataclass(frozen=True)
class GroupTopics:
    """What the members of a group share, below `base`, such as `lineside/groups/line-3`.

    Each message on them goes to one member, by a shared subscription of MQTT 5.
    """

    base: str
    name: str

    def frame(self, camera: str) -> str:
        return f"{self.base}/frame/{camera}"

    def command(self, name: str) -> str:
        return f"{self.base}/cmd/{name}"

    def member(self, client_id: str) -> str:
        """Where a member, by the client id of its connection to the group, says that it is there; `+` for all."""
        return f"{self.base}/member/{client_id}"

    def subscriptions(self) -> list[tuple[str, int]]:
        """Shared topic filters with their QoS."""
        return [(f"$share/lineside-{self.name}/{topic}", 1) for topic in (self.frame("+"), self.command("+"))]

    def parse(self, topic: str) -> tuple[Incoming, str] | None:
        """`frame` or `cmd`, and the name behind it; None where it is neither."""
        parsed = Topics(self.base).parse(topic)
        return parsed if parsed is not None and parsed[0] in ("frame", "cmd") else None

    def member_of(self, topic: str) -> str:
        """The client id of a member's topic; empty where it is none."""
        name = topic.removeprefix(self.member(""))
        return name if name != topic and "/" not in name else ""
