"""The triggers of a station, put together."""

from __future__ import annotations

import threading
from typing import Protocol

from lineside.devices.cameras.frame import Frame
from lineside.devices.triggers.timer import Timer
from lineside.devices.triggers.trigger import TriggerSource
from lineside.edge.config import Config
from lineside.edge.counters import Counters
from lineside.edge.degraded import Degraded
from lineside.edge.errors import RequestError
from lineside.edge.figures import Figures
from lineside.edge.frames.answers import Answers
from lineside.edge.frames.camera_set import CameraSet
from lineside.edge.frames.newest import NewestFrames
from lineside.edge.frames.part import Part
from lineside.edge.frames.pipeline import Pipeline
from lineside.edge.frames.switches import Switches
from lineside.edge.triggers.collector import Collector
from lineside.edge.triggers.events import TriggerEvents
from lineside.edge.triggers.intake import TriggerIntake
from lineside.edge.triggers.sources import SourceThread
from lineside.edge.triggers_config import TriggerConfig
from lineside.edge.wire.outbox import Outbox
from lineside.edge.wire.store import Store
from lineside.edge.wire.topics import Topics
from lineside.edge.wire.traffic import Message
from lineside.edge.wire.trigger_store import TriggerStore


class Station(Protocol):
    """What triggers are made of."""

    config: Config
    topics: Topics
    counters: Counters
    degraded: Degraded
    store: Store
    outbox: Outbox
    pipeline: Pipeline
    answers: Answers
    cameras: CameraSet
    newest: NewestFrames
    switches: Switches
    figures: Figures


class Triggers:
    """From what triggers to the parts in the pipeline's queue."""

    def __init__(self, station: Station) -> None:
        config = station.config
        self._station, self._online, self._resumed = station, threading.Event(), False
        events = TriggerEvents(station.topics, station.outbox.put)
        self.collector = Collector(
            config.triggers,
            lambda: station.config.cameras,
            lambda camera: station.cameras.live(camera) is not None,
            station.newest.after,
            lambda work, triggered: station.pipeline.put(work, triggered=triggered),
            self._refuse,
            self._drop,
        )
        self.intake = TriggerIntake(
            config.triggers,
            TriggerStore(station.store),
            self.collector,
            events,
            station.counters,
            station.switches.sentences,
            station.outbox.wake,
            self._tell_rejected,
        )
        self._sources = [
            SourceThread(name, open_source(trigger), self.intake.fire, events, station.degraded, self._online)
            for name, trigger in config.triggers.items()
            if trigger.moves
        ]
        station.pipeline.collect, station.pipeline.missed = self.collector.offer, events.missing
        station.figures.add_queue("triggers", self.intake)

    def start(self) -> None:
        self.collector.start()
        self.intake.start()
        for source in self._sources:
            source.start()

    def close(self) -> None:
        for source in self._sources:
            source.close()
        self.intake.close()
        self.collector.close()

    def accept(self, name: str, message: Message) -> None:
        """On the network thread."""
        self.intake.accept(name, message)

    def connected(self) -> None:
        """On the network thread: what an earlier run has left is begun the first time."""
        if not self._online.is_set():
            self._online.set()
            threading.Thread(target=self.intake.resume, name="triggers-resume", daemon=True).start()

    def _refuse(self, frame: Frame, problem: RequestError) -> None:
        self._station.answers.reject(frame, problem.code, str(problem))

    def _tell_rejected(self, part: Part) -> None:
        for told in self._station.answers.rejected:
            told(part)

    def _drop(self, _frame: Frame) -> None:
        self._station.counters.add("frames_not_inspected")


def open_source(trigger: TriggerConfig) -> TriggerSource:
    """Nothing is opened, and no library loaded, before its thread runs."""
    if trigger.kind == "gpio":
        from lineside.devices.triggers.gpio import GpioTrigger

        return GpioTrigger(trigger.pin, trigger.pull, trigger.edge, trigger.debounce_s)
    if trigger.kind == "modbus":
        from lineside.devices.triggers.modbus import CoilTrigger

        poll_s = trigger.poll_ms / 1e3
        return CoilTrigger(trigger.address, trigger.unit, trigger.coil, trigger.edge, poll_s, reset=trigger.reset)
    if trigger.kind == "opcua":
        from lineside.devices.triggers.opcua import NodeTrigger

        return NodeTrigger(trigger.address, trigger.node, trigger.edge)
    return Timer(trigger.interval_s)
