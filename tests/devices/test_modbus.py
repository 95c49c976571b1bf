from __future__ import annotations

from collections.abc import Iterator

import pytest

from lineside.devices.errors import LinkError
from lineside.devices.modbus import ModbusLink
from tests.support.plc import HastyPlc, Plc, deaf_controller, free_port


@pytest.fixture(scope="module")
def plc() -> Iterator[Plc]:
    plc = Plc()
    yield plc
    plc.close()


def test_what_is_written_can_be_read(plc: Plc) -> None:
    link = ModbusLink("127.0.0.1", plc.port)
    link.write_coil(3, True)
    link.write_register(7, 65535)
    assert link.read_coil(3)
    assert not link.read_coil(4)
    assert link.read_register(7) == 65535
    assert not link.read_input(0)
    assert link.read_input_register(0) == 0
    link.close()


def test_a_refusal_names_coil_and_controller_and_the_connection_stays(plc: Plc) -> None:
    link = ModbusLink("127.0.0.1", plc.port)
    with pytest.raises(LinkError, match=rf"127.0.0.1:{plc.port}, unit 1: refuses coil 500 with Modbus exception 2"):
        link.write_coil(500, True)
    link.write_coil(5, True)
    assert link.read_coil(5)
    link.close()


def test_a_controller_that_was_off_is_found_again_after_its_waiting_time() -> None:
    now = 0.0
    plc = Plc()
    link = ModbusLink("127.0.0.1", plc.port, clock=lambda: now)
    link.write_coil(1, True)
    plc.switch_off()
    with pytest.raises(LinkError, match="cannot be reached"):
        link.write_coil(1, False)
    plc.switch_on()
    with pytest.raises(LinkError, match="cannot be reached"):
        link.write_coil(1, False)
    now = 0.11
    link.write_coil(1, True)
    plc.switch_off()
    plc.switch_on()
    link.write_coil(1, False)  # over the connection that the controller closed meanwhile
    assert plc.values(1) == [1, 1, 0]
    link.close()
    plc.close()


def test_a_controller_that_never_answers_is_an_error_after_the_timeout() -> None:
    with deaf_controller() as port:
        link = ModbusLink("127.0.0.1", port, timeout_s=0.1)
        with pytest.raises(LinkError, match=r"no answer about coil 1 within 0.1 s"):
            link.write_coil(1, True)
        link.close()


def test_a_write_that_was_cut_off_is_not_repeated_and_a_read_is() -> None:
    plc = HastyPlc()
    link = ModbusLink("127.0.0.1", plc.port, timeout_s=30)
    link.write_coil(3, False)
    plc.closes_next = True
    with pytest.raises(LinkError, match="no answer about coil 3"):
        link.write_coil(3, True)
    assert plc.writes == [False, True]
    link.close()
    link = ModbusLink("127.0.0.1", plc.port, timeout_s=30)
    link.write_coil(3, False)
    plc.closes_next = True
    assert link.read_coil(3) is False
    link.close()
    plc.close()


def test_nobody_there() -> None:
    with pytest.raises(LinkError, match="cannot be reached; is it switched on"):
        ModbusLink("127.0.0.1", free_port(), timeout_s=0.2).read_register(1)
