"""What a station has only where its file asks for it: each is a line in `attach`, and its library is loaded then."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from lineside.edge.calls.calls import Calls
from lineside.edge.commands.inbox import Commands
from lineside.edge.config import Config
from lineside.edge.counters import Counters
from lineside.edge.degraded import Degraded
from lineside.edge.figures import Figures
from lineside.edge.frames.answers import Answers
from lineside.edge.frames.camera_set import CameraSet
from lineside.edge.frames.newest import NewestFrames
from lineside.edge.frames.pipeline import Pipeline
from lineside.edge.frames.switches import Switches
from lineside.edge.models import Models
from lineside.edge.pulse import Pulse
from lineside.edge.wire.mqtt import Connection
from lineside.edge.wire.outbox import Outbox
from lineside.edge.wire.store import Store
from lineside.edge.wire.topics import Topics
from lineside.edge.wire.traffic import Message


class Station(Protocol):
    """What the parts are made of."""

    config: Config
    topics: Topics
    counters: Counters
    degraded: Degraded
    pulse: Pulse
    store: Store
    connection: Connection
    outbox: Outbox
    models: Models
    pipeline: Pipeline
    answers: Answers
    cameras: CameraSet
    newest: NewestFrames
    switches: Switches
    calls: Calls
    commands: Commands
    figures: Figures


class Part(Protocol):
    def start(self) -> None: ...

    def close(self) -> None: ...


@dataclass
class Attached:
    """Attributes:
    parts: with threads or wires of their own; started behind the pipeline and before the cameras, in this order.
    handlers: what takes the messages of a kind of topic, by that kind, and acknowledges them. On the network thread,
        which goes on at once.
    connected: called on the network thread each time that the station has said that it is online.
    """

    parts: list[Part] = field(default_factory=list)
    handlers: dict[str, Callable[[str, Message], None]] = field(default_factory=dict)
    connected: list[Callable[[], None]] = field(default_factory=list)

    def start(self) -> None:
        for part in self.parts:
            part.start()

    def close(self) -> None:
        for part in reversed(self.parts):
            part.close()


def attach(station: Station) -> Attached:
    """Raises ConfigError, EdgeError where one of them cannot be."""
    attached = Attached()
    if station.config.outputs:
        from lineside.edge.outputs.attach import open_outputs

        attached.parts.append(open_outputs(station))
    if station.config.triggers:
        from lineside.edge.triggers.triggers import Triggers

        triggers = Triggers(station)
        attached.parts.append(triggers)
        attached.handlers["trigger"] = triggers.accept
        attached.connected.append(triggers.connected)
    return attached
