"""What an output is held in its safe state for, and what stops a heartbeat."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from lineside.devices.errors import LinkError
from lineside.devices.triggers.trigger import Moment
from lineside.edge.camera_config import CameraConfig
from lineside.edge.degraded import Degraded
from lineside.edge.frames.switches import Switches
from lineside.edge.models import NoModel
from lineside.edge.outputs.attach import Fitness, Station
from lineside.edge.outputs_config import OutputConfig
from lineside.edge.triggers.events import TriggerEvents
from lineside.edge.triggers.sources import SourceThread
from lineside.edge.triggers_config import TriggerConfig
from lineside.runtime.errors import EngineError
from tests.support.wait import until

ALL, TOP = OutputConfig("mqtt", topic="gate"), OutputConfig("mqtt", topic="gate", cameras=("top",))
EYE = OutputConfig("mqtt", topic="gate", cameras=("eye",))
ON = {name: CameraConfig("mqtt") for name in ("top", "side")}
NOT_LOOKED_AT, OFF = CameraConfig("mqtt", inspected=False), CameraConfig("mqtt", enabled=False)


class Stands:
    """A station with the cameras `top` and `side` and the trigger `eye`, which looks at `top`; nothing is wrong."""

    def __init__(self) -> None:
        self.online, self.degraded, self.switches = threading.Event(), Degraded(), Switches(ON)
        self.silent_s, self.engine = 0.0, cast(Any, object())
        triggers = {"eye": TriggerConfig("mqtt", ("top",))}
        self.config = SimpleNamespace(cameras=ON, triggers=triggers, inspect=SimpleNamespace(max_age_s=10.0))
        self.pulse = SimpleNamespace(silent_s=lambda _: self.silent_s)
        self.cameras = SimpleNamespace(watch=SimpleNamespace(health=dict))
        self.online.set()

    @property
    def pipeline(self) -> Any:
        return SimpleNamespace(look=SimpleNamespace(engine=self.engine))

    def lose_model(self) -> None:
        self.engine = NoModel("frames", Path("bundle"), EngineError("it is broken"))

    def lose_pipeline(self) -> None:
        self.silent_s = 10.1


@pytest.fixture
def station() -> Stands:
    return Stands()


@pytest.fixture
def fitness(station: Stands) -> Fitness:
    return Fitness(cast(Station, station))


def test_nothing_is_held_where_nothing_is_wrong(fitness: Fitness) -> None:
    assert [fitness.unfit(output) for output in (ALL, TOP, EYE)] == ["", "", ""]
    assert fitness.alive()


@pytest.mark.parametrize("camera", [NOT_LOOKED_AT, OFF])
@pytest.mark.parametrize("output", [TOP, EYE])
def test_one_whose_camera_is_switched_off_is_held(
    station: Stands, fitness: Fitness, output: OutputConfig, camera: CameraConfig
) -> None:
    station.switches.exchange(ON | {"side": camera})
    assert fitness.unfit(output) == ""
    station.switches.exchange(ON | {"top": camera})
    assert "`cameras.top." in fitness.unfit(output)


def test_one_of_all_cameras_is_held_when_none_is_left(station: Stands, fitness: Fitness) -> None:
    station.switches.exchange(ON | {"top": NOT_LOOKED_AT})
    assert fitness.unfit(ALL) == ""
    station.switches.exchange({"top": NOT_LOOKED_AT, "side": OFF})
    assert "top is not inspected" in fitness.unfit(ALL)


def test_one_whose_trigger_is_lost_is_held(station: Stands, fitness: Fitness) -> None:
    class Away:
        def moments(self, *_: object) -> Iterator[Moment]:
            raise LinkError("modbus plc: cannot be reached")

    events = cast(TriggerEvents, SimpleNamespace(lost=lambda *_: None))
    source = SourceThread("eye", Away(), cast(Any, None), events, station.degraded, station.online)
    source.start()
    until(lambda: fitness.unfit(EYE))
    source.close()
    assert "trigger eye is lost" in fitness.unfit(EYE)
    assert [fitness.unfit(output) for output in (ALL, TOP)] == [fitness.unfit(EYE), ""]


def test_a_heartbeat_waits_until_the_station_was_online(station: Stands, fitness: Fitness) -> None:
    station.online.clear()
    assert not fitness.alive()


@pytest.mark.parametrize("lose", [Stands.lose_model, Stands.lose_pipeline])
def test_without_model_or_pipeline_nothing_beats_and_all_is_held(station: Stands, fitness: Fitness, lose: Any) -> None:
    lose(station)
    assert not fitness.alive()
    assert fitness.unfit(ALL)
