"""A Modbus TCP controller: its coils and registers, over one connection that comes back by itself."""

from __future__ import annotations

import logging
import select
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from lineside.devices.errors import LinkError

if TYPE_CHECKING:
    from pymodbus.client import ModbusTcpClient

REOPEN_S = (0.1, 0.2, 0.5, 1.0, 2.0)
"""Waiting times after a failure, before the controller is tried again; the last one repeats."""


class ModbusLink:
    """From any thread; one request after the other. Nothing is connected before the first of them.

    After a failure requests fail at once, with the same sentence, until it is time to try again. A write goes out once:
    where no answer comes, nobody knows whether the controller has done it.

    Args:
        unit: the controller's device id, 0 to 255.
        timeout_s: for the connection, and for each answer.
    """

    def __init__(
        self,
        host: str,
        port: int = 502,
        unit: int = 1,
        timeout_s: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._host, self._port, self._unit, self._timeout_s, self._clock = host, port, unit, timeout_s, clock
        self._lock = threading.Lock()
        self._client: ModbusTcpClient | None = None
        self._failures, self._not_before = 0, 0.0
        self._problem = ""

    def connect(self) -> None:
        """Make the connection stand, so that what is written next is not held up by it. Raises LinkError."""
        with self._lock:
            self._check_turn()
            self._connected()

    def read_coil(self, address: int) -> bool:
        """Raises LinkError, as each of these."""
        return bool(self._ask("read_coils", f"coil {address}", address, count=1).bits[0])

    def read_input(self, address: int) -> bool:
        """A discrete input."""
        return bool(self._ask("read_discrete_inputs", f"input {address}", address, count=1).bits[0])

    def read_register(self, address: int) -> int:
        """A holding register, 0 to 65535."""
        return int(self._ask("read_holding_registers", f"register {address}", address, count=1).registers[0])

    def read_input_register(self, address: int) -> int:
        """0 to 65535."""
        return int(self._ask("read_input_registers", f"input register {address}", address, count=1).registers[0])

    def write_coil(self, address: int, on: bool) -> None:
        self._ask("write_coil", f"coil {address}", address, value=on)

    def write_register(self, address: int, value: int) -> None:
        """A holding register, 0 to 65535."""
        self._ask("write_register", f"register {address}", address, value=value)

    def close(self) -> None:
        """The next request connects anew."""
        with self._lock:
            self._hang_up()

    def _ask(self, function: str, what: str, address: int, **request: Any) -> Any:
        from pymodbus.exceptions import ConnectionException, ModbusException

        with self._lock:
            self._check_turn()
            kept = self._client is not None
            try:
                try:
                    answer = getattr(self._connected(), function)(address, device_id=self._unit, **request)
                except (ConnectionException, OSError):
                    if not kept or function.startswith("write"):
                        raise
                    self._hang_up()  # the controller closed what was kept open: what is read is read anew
                    answer = getattr(self._connected(), function)(address, device_id=self._unit, **request)
            except (ModbusException, OSError) as error:
                raise self._failed(f"no answer about {what} within {self._timeout_s:g} s ({error})") from error
            if answer.isError():
                code = getattr(answer, "exception_code", 0)
                raise LinkError(f"{self._name}: refuses {what} with Modbus exception {code}: check address and unit")
            self._failures, self._problem = 0, ""
            return answer

    @property
    def _name(self) -> str:
        return f"modbus {self._host}:{self._port}, unit {self._unit}"

    def _check_turn(self) -> None:
        """Raises LinkError where it is not yet time to try again."""
        if self._problem and self._clock() < self._not_before:
            raise LinkError(self._problem)

    def _connected(self) -> ModbusTcpClient:
        from pymodbus.client import ModbusTcpClient

        if self._client is not None and self._was_closed(self._client):
            self._hang_up()
        if self._client is None:
            logging.getLogger("pymodbus.logging").setLevel(logging.CRITICAL)  # what it says is in the LinkError
            # Without retries of its own: a write that was late must not be repeated behind the caller's back.
            self._client = ModbusTcpClient(self._host, port=self._port, timeout=self._timeout_s, retries=0)
        if not self._client.connect():
            raise self._failed("cannot be reached; is it switched on, and are host and port right?")
        return self._client

    def _was_closed(self, client: ModbusTcpClient) -> bool:
        """By the controller: nothing else can be read while nothing is asked."""
        return client.socket is not None and bool(select.select([client.socket], [], [], 0)[0])

    def _failed(self, why: str) -> LinkError:
        self._hang_up()
        self._not_before = self._clock() + REOPEN_S[min(self._failures, len(REOPEN_S) - 1)]
        self._failures += 1
        self._problem = f"{self._name}: {why}"
        return LinkError(self._problem)

    def _hang_up(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None
