"""The PLC of the demo: a Modbus server with a photo-eye, which sees what the station switches."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from lineside.edge.demo.broker import HOST, free_port
from lineside.edge.demo.scene import Plc
from lineside.edge.errors import BrokerError, ConfigError

if TYPE_CHECKING:
    from pymodbus.client import ModbusTcpClient
    from pymodbus.server import ModbusTcpServer

WATCHED_S = 60.0
HELD_S = 0.2
"""How long a part is before the photo-eye."""
SIZE = 1000
UNIT = 1
READ_COILS, WRITE_COIL, WRITE_COILS = 1, 5, 15


class PlcServer:
    """Runs on a thread of its own until it is closed.

    Args:
        switched: told of each change of the scene's coils, on that thread: name, value, `time.monotonic()`.

    Raises:
        ConfigError: pymodbus is not installed.
    """

    def __init__(self, scene: Plc, switched: Callable[[str, bool, float], None]) -> None:
        try:
            from pymodbus.client import ModbusTcpClient
        except ImportError as error:
            raise ConfigError("the PLC of this demo needs pymodbus: pip install 'lineside[modbus]'") from error
        self._scene, self._switched = scene, switched
        self._names = {coil: name for name, coil in scene.coils.items()}
        self._values: dict[str, bool] = {}
        self._watched = threading.Event()
        self.port = free_port()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="plc", daemon=True)
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(self._serve(), self._loop).result()
        self._belt: ModbusTcpClient = ModbusTcpClient(HOST, port=self.port)
        self._belt.connect()

    async def _serve(self) -> ModbusTcpServer:
        from pymodbus.server import ModbusTcpServer
        from pymodbus.simulator import DataType, SimData, SimDevice

        bits = [SimData(0, count=SIZE, values=False, datatype=DataType.BITS)]
        words = [SimData(0, count=SIZE, values=0, datatype=DataType.REGISTERS)]
        device = SimDevice(UNIT, simdata=(bits, bits, words, words), action=self._see)
        server = ModbusTcpServer(device, address=(HOST, self.port))
        await server.serve_forever(background=True)
        return server

    async def _see(
        self, function: int, _start: int, address: int, _count: int, _now: list[int], new: list[int] | list[bool] | None
    ) -> None:
        if function == READ_COILS and address == self._scene.photo_eye:
            self._watched.set()
        if function not in (WRITE_COIL, WRITE_COILS) or not new:
            return
        for coil, value in enumerate(new, start=address):
            name = self._names.get(coil)
            if name is not None and self._values.get(name, False) != bool(value):
                self._values[name] = bool(value)
                self._switched(name, bool(value), time.monotonic())

    def pass_part(self) -> float:
        """A part passes the photo-eye, once the station watches it. When it began, on `time.monotonic()`.

        Raises BrokerError where the station does not look at the photo-eye.
        """
        if not self._watched.wait(WATCHED_S):
            raise BrokerError(f"the station did not look at the photo-eye, coil {self._scene.photo_eye} of the PLC")
        self._belt.write_coil(self._scene.photo_eye, True, device_id=UNIT)
        began = time.monotonic()
        time.sleep(HELD_S)
        self._belt.write_coil(self._scene.photo_eye, False, device_id=UNIT)
        return began

    def close(self) -> None:
        self._belt.close()
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _end(self) -> None:
        await self._server.shutdown()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
