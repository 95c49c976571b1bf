"""Controllers for the tests: pymodbus's own server and asyncua's own, each on a loop and a thread of its own."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from asyncua import Server, ua
from pymodbus.constants import ExcCodes
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

T = TypeVar("T")
WRITES, READS_COILS = {5, 6}, 1
NODES = {"reject": False, "count": 0, "speed": 0.0}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class _OnLoop:
    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    def _end(self) -> None:
        self._run(self._settle())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _settle(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)


class Plc(_OnLoop):
    """A Modbus TCP controller with 100 coils, inputs and registers.

    Attributes:
        writes: address, value and `time.monotonic()` of each write of a coil or register, in their order.
        reads: how often coils were read.
    """

    def __init__(self) -> None:
        super().__init__()
        self.port = free_port()
        self.writes: list[tuple[int, int, float]] = []
        self.reads = 0
        self._server: ModbusTcpServer | None = None
        self.switch_on()

    def switch_on(self) -> None:
        self._run(self._serve())

    def switch_off(self) -> None:
        if self._server is not None:
            self._run(self._server.shutdown())
            self._server = None

    def close(self) -> None:
        self.switch_off()
        self._end()

    def values(self, address: int) -> list[int]:
        """What was written there, in its order."""
        return [value for at, value, _ in self.writes if at == address]

    def set(self, coil: int, on: bool) -> None:
        """As the controller's own program does; it is not among the writes."""
        assert self._server is not None
        self._run(self._server.async_setValues(1, 15, coil, [on]))

    async def _serve(self) -> None:
        bits = [SimData(0, count=100, values=False, datatype=DataType.BITS)]
        words = [SimData(0, count=100, values=0, datatype=DataType.REGISTERS)]
        device = SimDevice(1, simdata=(bits, bits, words, words), action=self._seen)
        self._server = ModbusTcpServer(device, address=("127.0.0.1", self.port))
        await self._server.serve_forever(background=True)

    async def _seen(
        self, function: int, _start: int, address: int, _count: int, _now: list[int], new: list[int] | list[bool] | None
    ) -> ExcCodes | None:
        if function == READS_COILS:
            self.reads += 1
        if function in WRITES and new:
            self.writes.append((address, int(new[0]), time.monotonic()))
        return None


class HastyPlc:
    """A Modbus TCP controller that does what it is told, and can close the connection before it answers.

    Attributes:
        writes: each level that a coil was set to.
        closes_next: at the next request, once.
    """

    def __init__(self) -> None:
        self.writes: list[bool] = []
        self.closes_next = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()

    def _run(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                with client:
                    self._serve(client)

    def _serve(self, client: socket.socket) -> None:
        while request := client.recv(260):
            head, function = request[:7], request[7]
            if function in WRITES:
                self.writes.append(request[10] == 0xFF)
            if self.closes_next:
                self.closes_next = False
                return
            coil = bytes([0, 4]) + head[6:7] + bytes([READS_COILS, 1, 0])
            client.sendall(request if function in WRITES else head[:4] + coil)


class OpcUaServer(_OnLoop):
    """An OPC UA server with the nodes of NODES as `ns=2;s={name}`: a Boolean, a UInt16 and a Float."""

    def __init__(self) -> None:
        super().__init__()
        self.port = free_port()
        self.url = f"opc.tcp://127.0.0.1:{self.port}"
        self._server = self._run(self._serve())

    def close(self) -> None:
        self._run(self._server.stop())
        self._end()

    def value(self, name: str) -> Any:
        return self._run(self._server.get_node(f"ns=2;s={name}").read_value())

    def set(self, name: str, value: Any) -> None:
        node = self._server.get_node(f"ns=2;s={name}")
        self._run(self._set(node, value))

    async def _set(self, node: Any, value: Any) -> None:
        await node.write_value(value, await node.read_data_type_as_variant_type())

    async def _serve(self) -> Server:
        server = Server()
        await server.init()
        server.set_endpoint(self.url)
        server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
        index = await server.register_namespace("urn:lineside:tests")
        kinds = {"reject": ua.VariantType.Boolean, "count": ua.VariantType.UInt16, "speed": ua.VariantType.Float}
        for name, kind in kinds.items():
            node = await server.nodes.objects.add_variable(f"ns={index};s={name}", name, NODES[name], kind)
            await node.set_writable()
        await server.start()
        return server


@contextmanager
def deaf_controller() -> Iterator[int]:
    """Accepts connections on the port that it gives, and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        kept: list[socket.socket] = []

        def accept() -> None:
            with suppress(OSError):
                while True:
                    kept.append(listener.accept()[0])

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield int(listener.getsockname()[1])
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
        for connection in kept:
            connection.close()
