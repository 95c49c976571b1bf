"""What a station has only where its file asks for it: each is a line in `attach`, and its library is loaded then."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

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

if TYPE_CHECKING:
    from lineside.edge.integrations.zigbee.devices import ZigbeeDevices


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
    zigbee: ZigbeeDevices | None
    online: threading.Event


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
    exchanged: called when a new station file or another model was taken, on the thread that did it.
    """

    parts: list[Part] = field(default_factory=list)
    handlers: dict[str, Callable[[str, Message], None]] = field(default_factory=dict)
    connected: list[Callable[[], None]] = field(default_factory=list)
    exchanged: list[Callable[[], None]] = field(default_factory=list)

    def start(self) -> None:
        for part in self.parts:
            part.start()

    def close(self) -> None:
        for part in reversed(self.parts):
            part.close()

    def taken(self) -> None:
        for told in self.exchanged:
            told()


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
    if station.config.sparkplug.group_id:
        from lineside.edge.integrations.sparkplug.attach import open_sparkplug

        node = open_sparkplug(station)
        attached.parts.append(node)
        attached.connected.append(node.connect_now)
    if station.zigbee is not None:
        devices, calls = station.zigbee, station.calls
        devices.follow(station.connection, lambda topic: calls.states.take(topic, b"", retained=False))
        attached.parts.append(devices)
        attached.connected.append(devices.connect_now)
    _tell_home_assistant(station, attached)
    return attached


def _tell_home_assistant(station: Station, attached: Attached) -> None:
    """Where the station file has `[home_assistant]`, or had it at the last start."""
    config = station.config
    if config.home_assistant is None and not config.published_path.exists():
        return
    from lineside.edge.integrations.home_assistant.link import HomeAssistantLink

    client_id = config.mqtt.client_id or f"lineside-{config.station.name}"
    mark, leader = station.store.session_mark, station.connection
    link = HomeAssistantLink(lambda: station.config, client_id, station.counters, station.degraded, mark, leader)
    attached.parts.append(link)
    attached.connected.append(link.connect_now)
    attached.exchanged.append(link.changed)
