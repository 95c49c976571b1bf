"""`kill -9` while a result waits for its outputs: it is not lost, and nothing is done twice."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from lineside.devices.cameras.frame import Frame
from lineside.edge.frames.answers import Delivered
from lineside.edge.outputs_config import OutputConfig
from lineside.edge.wire.identity import Delivery, Use
from tests.support.outputs import Station
from tests.support.plc import Plc

CHILD = """
    import os, signal, sys
    from pathlib import Path
    from lineside.devices.actuators.modbus import Coil
    from lineside.devices.modbus import ModbusLink
    from lineside.edge.outputs_config import OutputConfig
    from lineside.edge.outputs.wires import Switched
    from lineside.devices.cameras.frame import Frame
    from lineside.edge.frames.answers import Delivered
    from lineside.edge.wire.identity import Delivery, Use
    from tests.support.outputs import Station, result_of

    class Kills(Switched):
        def set(self, on, about):
            super().set(on, about)
            if about["id"]:
                os.kill(os.getpid(), signal.SIGKILL)

    folder, port, delay_s = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    config = OutputConfig("modbus", delay_s=delay_s, pulse_s=0.01)
    wires = {"reject": Kills(Coil(ModbusLink("127.0.0.1", port, timeout_s=30), 0))}
    with Station(folder, wires=wires, reject=config) as station:
        frame = Frame("top", id="f" * 32)
        assert station.answers.take(frame, Delivered(Delivery("s", 1, False), Use("c", 1)), lambda: None)
        station.outputs.deliver(frame, result_of(frame, "fail"))
        station.answers.done(frame)
        os.kill(os.getpid(), signal.SIGKILL) if delay_s else signal.pause()
"""


@pytest.fixture(scope="module")
def plc() -> Iterator[Plc]:
    plc = Plc()
    yield plc
    plc.close()


@pytest.mark.parametrize(("delay_s", "pulses"), [(60.0, 0), (0.0, 1)], ids=["before it acts", "after it acted"])
def test_after_a_kill_the_result_goes_out_and_nothing_is_done_again(
    tmp_path: Path, plc: Plc, delay_s: float, pulses: int
) -> None:
    before = len(plc.writes)
    child = [sys.executable, "-c", textwrap.dedent(CHILD), str(tmp_path), str(plc.port), str(delay_s)]
    assert subprocess.run(child, timeout=60).returncode == -signal.SIGKILL
    with Station(tmp_path, reject=OutputConfig("modbus", pulse_s=0.01)) as station:
        (result,) = station.results().values()
        acknowledged: list[bool] = []
        again = Delivered(Delivery("s", 1, True), Use("c", 1))
        assert not station.answers.take(Frame("top", id="f" * 32), again, lambda: acknowledged.append(True))
        assert acknowledged == [True]
        bodies = [message.payload for message in station.store.pending(0, 10)]
    assert result["verdict"] == "fail"
    assert result["outputs"]["reject"]["outcome"] == "repeated"
    assert bodies[0] == bodies[1]  # the duplicate is given the same result
    assert station.machines["reject"].parts() == []
    assert [value for _, value, _ in plc.writes[before:]].count(1) == pulses
