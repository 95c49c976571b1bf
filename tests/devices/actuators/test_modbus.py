from __future__ import annotations

from collections.abc import Iterator

import pytest

from lineside.devices.actuators.modbus import Coil, Register
from lineside.devices.modbus import ModbusLink
from tests.support.plc import Plc


@pytest.fixture(scope="module")
def plc() -> Iterator[Plc]:
    plc = Plc()
    yield plc
    plc.close()


def test_a_coil_goes_on_and_off_and_a_count_is_every_other_time(plc: Plc) -> None:
    coil = Coil(ModbusLink("127.0.0.1", plc.port, timeout_s=30), 7)
    coil.set(True)
    coil.set(False)
    coil.count(1)
    coil.count(2)
    coil.probe()
    coil.close()
    assert plc.values(7) == [1, 0, 1, 0]


def test_a_register_gets_one_and_nothing_and_counts(plc: Plc) -> None:
    register = Register(ModbusLink("127.0.0.1", plc.port, timeout_s=30), 9)
    register.set(True)
    register.set(False)
    register.count(65535)
    register.count(65536)
    register.probe()
    register.close()
    assert plc.values(9) == [1, 0, 65535, 0]
