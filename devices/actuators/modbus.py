"""A coil, or a holding register, of a Modbus TCP controller."""

from __future__ import annotations

from lineside.devices.modbus import ModbusLink

WORD = 65536


class Coil:
    def __init__(self, link: ModbusLink, address: int) -> None:
        self._link, self._address = link, address

    def connect(self) -> None:
        self._link.connect()

    def set(self, on: bool) -> None:
        self._link.write_coil(self._address, on)

    def count(self, number: int) -> None:
        self._link.write_coil(self._address, number % 2 == 1)

    def probe(self) -> None:
        self._link.read_coil(self._address)

    def close(self) -> None:
        self._link.close()


class Register:
    """1 for on and 0 for off; a count begins again after 65535."""

    def __init__(self, link: ModbusLink, address: int) -> None:
        self._link, self._address = link, address

    def connect(self) -> None:
        self._link.connect()

    def set(self, on: bool) -> None:
        self._link.write_register(self._address, int(on))

    def count(self, number: int) -> None:
        self._link.write_register(self._address, number % WORD)

    def probe(self) -> None:
        self._link.read_register(self._address)

    def close(self) -> None:
        self._link.close()
