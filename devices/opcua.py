"""An OPC UA server: its nodes, over one connection that comes back by itself."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from lineside.devices.cameras.masking import masked
from lineside.devices.errors import LinkError

if TYPE_CHECKING:
    from asyncua import Client, Node

T = TypeVar("T")
REOPEN_S = (0.1, 0.2, 0.5, 1.0, 2.0)
"""Waiting times before a lost server is tried again; the last one repeats."""
NUMBERS = ("SByte", "Byte", "Int16", "UInt16", "Int32", "UInt32", "Int64", "UInt64")
PLAIN: dict[str, Callable[[Any], Any]] = {
    "Boolean": bool,
    "String": str,
    "Float": float,
    "Double": float,
    **dict.fromkeys(NUMBERS, int),
}
"""The types that a value is made to fit before it is written."""
PERIOD_MS = 20.0
"""How often a server is asked to tell what has changed."""
QUEUED = 100
"""Changes of a node in that time, of which none is to be left out."""


class _Background:
    """One event loop on a thread of its own, for all links; it runs while there are any."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def acquire(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            self._users += 1
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=self._loop.run_forever, name="opcua", daemon=True)
                self._thread.start()
            return self._loop

    def release(self) -> None:
        with self._lock:
            self._users -= 1
            if self._users or self._loop is None or self._thread is None:
                return
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()
            self._loop = self._thread = None


_background = _Background()


@dataclass(frozen=True)
class _Watched:
    """A node, and who is told of its values, and of the end of a connection."""

    node: str
    told: Callable[[Any], None]
    lost: Callable[[], None]

    def datachange_notification(self, _node: object, value: Any, _data: object) -> None:
        self.told(value)


class OpcUaLink:
    """From any thread. Connects in the background from `start` on, and again whenever the connection is lost.

    Args:
        url: such as `opc.tcp://192.168.0.10:4840`; without security.
        timeout_s: for each step of the connection, and for each answer.
    """

    def __init__(self, url: str, timeout_s: float = 1.0) -> None:
        self._url, self._timeout_s = url, timeout_s
        self._watched: list[_Watched] = []
        self._client: Client | None = None
        self._types: dict[str, Any] = {}
        self._problem = ""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._keeper: asyncio.Task[None] | None = None

    def subscribe(self, node: str, told: Callable[[Any], None], lost: Callable[[], None] = lambda: None) -> None:
        """Before `start`: `told` gets the node's value at each connection and at each change, `lost` is called when a
        connection has ended; both return at once.
        """
        self._watched.append(_Watched(node, told, lost))

    def start(self) -> None:
        self._loop = _background.acquire()
        self._run(self._begin())

    def close(self) -> None:
        if self._loop is not None:
            self._run(self._end())
            self._loop = None
            _background.release()

    def read(self, node: str) -> Any:
        """The value of a node such as `ns=2;s=Line1.Reject`.

        Raises:
            LinkError: why it cannot be had.
        """
        return self._run(self._ask(node, self._read))

    def write(self, node: str, value: Any) -> None:
        """Write `value` as the node's own type: True becomes 1 where it holds numbers.

        Raises:
            LinkError: why it was not written.
        """
        self._run(self._ask(node, lambda client, name: self._write(client, name, value)))

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        if self._loop is None:
            work.close()
            raise LinkError(f"{self._name}: the connection is closed")
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    @property
    def _name(self) -> str:
        return f"opcua {masked(self._url)}"

    async def _begin(self) -> None:
        logging.getLogger("asyncua").setLevel(logging.CRITICAL)  # what it says is in the LinkError
        self._tried, self._lost = asyncio.Event(), asyncio.Event()
        self._keeper = asyncio.get_running_loop().create_task(self._keep())

    async def _end(self) -> None:
        if self._keeper is not None:
            self._keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._keeper

    async def _keep(self) -> None:
        failures = 0
        while True:
            self._lost.clear()
            if await self._stay_connected():
                failures = 0
            self._tried.set()
            await asyncio.sleep(REOPEN_S[min(failures, len(REOPEN_S) - 1)])
            failures += 1

    async def _stay_connected(self) -> bool:
        """Until the connection is lost; returns whether there was one."""
        from asyncua import Client
        from asyncua.ua import UaError

        client = Client(self._url, timeout=self._timeout_s)
        client.connection_lost_callback = self._on_loss
        connected = False
        try:
            await client.connect()
            await self._watch(client)
            self._client, self._problem, connected = client, "", True
            self._tried.set()
            await self._lost.wait()
            self._problem = f"{self._name}: the connection was lost"
        except LinkError as error:
            self._problem = str(error)
        except (TimeoutError, OSError, UaError) as error:
            why = masked(repr(error))
            self._problem = f"{self._name}: cannot be reached ({why}); is it on, and is the address right?"
        finally:
            self._client = None
            self._types.clear()
            for watched in self._watched if connected else ():
                watched.lost()
            with contextlib.suppress(Exception):
                await asyncio.wait_for(client.disconnect(), self._timeout_s)
        return connected

    async def _on_loss(self, _error: Exception) -> None:
        self._lost.set()

    async def _watch(self, client: Client) -> None:
        """Raises LinkError where the server is there, and a node is not."""
        from asyncua.ua import UaStatusCodeError

        for watched in self._watched:
            node = self._node(client, watched.node)
            subscription = await client.create_subscription(PERIOD_MS, watched)
            try:
                await subscription.subscribe_data_change(node, queuesize=QUEUED)
            except UaStatusCodeError as error:
                raise LinkError(f"{self._name}: refuses node {watched.node}: {error}") from error

    def _node(self, client: Client, node: str) -> Node:
        """Raises LinkError where no node can be called so."""
        from asyncua.ua import UaError

        try:
            return client.get_node(node)
        except UaError as error:
            raise LinkError(f"{self._name}: {node!r} is no node: `ns=2;s=Line1.Reject` would be right") from error

    async def _ask(self, node: str, work: Callable[[Client, str], Coroutine[Any, Any, T]]) -> T:
        """Waits for the first connection only: afterwards a server that is away is an error at once."""
        from asyncua.ua import UaError, UaStatusCodeError

        await self._tried.wait()
        if (client := self._client) is None:
            raise LinkError(self._problem)
        self._node(client, node)
        try:
            return await asyncio.wait_for(work(client, node), self._timeout_s)
        except UaStatusCodeError as error:
            raise LinkError(f"{self._name}: refuses node {node}: {error}") from error
        except (TimeoutError, OSError, UaError) as error:
            self._lost.set()
            raise LinkError(f"{self._name}: no answer about node {node} within {self._timeout_s:g} s") from error
        except (ValueError, TypeError) as error:
            raise LinkError(f"{self._name}: node {node} does not take this value: {error}") from error

    async def _read(self, client: Client, node: str) -> Any:
        return await client.get_node(node).read_value()

    async def _write(self, client: Client, node: str, value: Any) -> None:
        from asyncua import ua

        if node not in self._types:
            self._types[node] = await client.get_node(node).read_data_type_as_variant_type()
        kind = self._types[node]
        if kind.name in PLAIN:
            value = PLAIN[kind.name](value)
        # Without a time: controllers that set their own refuse it.
        await client.get_node(node).write_attribute(
            ua.AttributeIds.Value, ua.DataValue(ua.Variant(value, kind), SourceTimestamp=None)
        )
