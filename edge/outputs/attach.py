"""The outputs of a running station."""

from __future__ import annotations

import threading
from typing import Protocol

from lineside.edge.config import Config
from lineside.edge.counters import Counters
from lineside.edge.degraded import Degraded
from lineside.edge.frames.answers import Answers
from lineside.edge.frames.camera_set import CameraSet
from lineside.edge.frames.pipeline import Pipeline
from lineside.edge.frames.switches import Switches
from lineside.edge.models import NoModel
from lineside.edge.outputs.outputs import Outputs
from lineside.edge.outputs.trouble import Trouble
from lineside.edge.outputs.wires import Wire, open_wire
from lineside.edge.outputs_config import OutputConfig
from lineside.edge.pulse import Pulse
from lineside.edge.wire.mqtt import Connection
from lineside.edge.wire.outbox import Outbox
from lineside.edge.wire.topics import Topics


class Station(Protocol):
    """What outputs need of it."""

    config: Config
    topics: Topics
    counters: Counters
    degraded: Degraded
    pulse: Pulse
    connection: Connection
    outbox: Outbox
    pipeline: Pipeline
    answers: Answers
    cameras: CameraSet
    switches: Switches
    online: threading.Event


class Fitness:
    """Whether the station can vouch for its outputs: looked at from outside of the pipeline."""

    def __init__(self, station: Station) -> None:
        self._station = station
        self._limit_s = station.config.inspect.max_age_s

    def alive(self) -> bool:
        """Heartbeats may go out: the station was online once, and can judge what comes."""
        return self._station.online.is_set() and not self._without_verdicts()

    def unfit(self, output: OutputConfig) -> str:
        """Why the output must hold its safe state; empty where it need not."""
        if output.heartbeat_s:
            return ""  # that it stops says it
        if said := self._without_verdicts():
            return said
        for name, camera in self._station.cameras.watch.health().items():
            if camera.error is not None and self._looks_at(output, name):
                return camera.error.message
        return self._switched_off(output) or self._without_trigger(output)

    def _without_verdicts(self) -> str:
        """Why nothing at all is judged; the pipeline's last sign of life may be as old as a frame."""
        if isinstance(model := self._station.pipeline.look.engine, NoModel):
            return str(model)
        if self._station.pulse.silent_s("pipeline") > self._limit_s:
            return f"the pipeline has been stuck for more than {self._limit_s:g} s (`inspect.max_age_s`)"
        return ""

    def _switched_off(self, output: OutputConfig) -> str:
        """One of the cameras that it names, or all where it names none: a camera may be there for questions alone."""
        off = self._station.switches.sentences()
        looking = [name for name in self._station.config.cameras if self._looks_at(output, name)]
        said = [off[name] for name in looking if name in off]
        return said[0] if said and (output.cameras or len(said) == len(looking)) else ""

    def _without_trigger(self, output: OutputConfig) -> str:
        lost = (
            self._station.degraded.sentence(f"trigger {name}")
            for name in self._station.config.triggers
            if output.takes(name)
        )
        return next(filter(None, lost), "")

    def _looks_at(self, output: OutputConfig, camera: str) -> bool:
        """Whether verdicts that it takes are made from the pictures of this camera."""
        triggers = self._station.config.triggers.items()
        return output.takes(camera) or any(output.takes(name) and camera in one.cameras for name, one in triggers)


def open_outputs(station: Station) -> Outputs:
    """Raises ConfigError where one cannot be."""
    config, fitness = station.config.outputs, Fitness(station)
    wires: dict[str, Wire] = {}
    try:
        for name, output in config.items():
            wires[name] = open_wire(name, output, station.connection)
    except BaseException:
        for wire in wires.values():
            wire.close()
        raise
    trouble = Trouble(station.topics, station.outbox.put, station.degraded, station.counters)
    max_age_s = station.config.inspect.max_age_s
    outputs = Outputs(config, wires, station.answers, trouble, max_age_s, fitness.unfit, fitness.alive)
    station.pipeline.deliver = outputs.deliver
    station.answers.rejected.append(outputs.rejected)
    return outputs
