"""A databroker of the tests' own: the service `kuksa.val.v2.VAL`, from the stubs that the client ships."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
from kuksa.val.v2 import types_pb2, val_pb2, val_pb2_grpc

TYPES = {
    "Vehicle.Speed": types_pb2.DATA_TYPE_FLOAT,
    "Vehicle.Cabin.Sunroof.Position": types_pb2.DATA_TYPE_INT8,
    "Vehicle.Body.Trunk.Rear.IsOpen": types_pb2.DATA_TYPE_BOOLEAN,
    "Vehicle.Body.Windshield.Front.Wiping.Mode": types_pb2.DATA_TYPE_STRING,
    "Vehicle.Cabin.Seats": types_pb2.DATA_TYPE_UINT8_ARRAY,
}
FIELDS = {
    types_pb2.DATA_TYPE_FLOAT: "float",
    types_pb2.DATA_TYPE_INT8: "int32",
    types_pb2.DATA_TYPE_BOOLEAN: "bool",
    types_pb2.DATA_TYPE_STRING: "string",
}


class Databroker(val_pb2_grpc.VALServicer):  # type: ignore[misc]
    """Keeps values, tells subscribers, and hands what is actuated to `provider`.

    Attributes:
        provider: called with signal and value; what it does is what the vehicle does.
        actuated: what was asked for, in order.
        tokens: the authorization of each subscription.
    """

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.actuated: list[tuple[str, Any]] = []
        self.tokens: list[str] = []
        self.provider: Callable[[str, Any], None] = self.says
        self.fails: grpc.StatusCode | None = None
        self.subscribed = threading.Event()
        self._subscribers: list[queue.Queue[Any]] = []

    def says(self, signal: str, value: Any, age_s: float | None = 0.0) -> None:
        """The vehicle says the value of a signal, `age_s` ago; without a time where that is None."""
        point = types_pb2.Datapoint(value=types_pb2.Value(**{FIELDS[TYPES[signal]]: value}))
        if age_s is not None:
            at = time.time() - age_s
            point.timestamp.seconds, point.timestamp.nanos = int(at), int(at % 1 * 1e9)
        self.values[signal] = point
        for waiting in self._subscribers:
            waiting.put(val_pb2.SubscribeResponse(entries={signal: point}))

    def end(self) -> None:
        for waiting in self._subscribers:
            waiting.put(None)

    def ListMetadata(self, request: Any, context: Any) -> Any:
        if request.root not in TYPES:
            context.abort(grpc.StatusCode.NOT_FOUND, "no such path")
        return val_pb2.ListMetadataResponse(
            metadata=[types_pb2.Metadata(path=request.root, data_type=TYPES[request.root])]
        )

    def Subscribe(self, request: Any, context: Any) -> Iterator[Any]:
        waiting: queue.Queue[Any] = queue.Queue()
        self.tokens.append(dict(context.invocation_metadata()).get("authorization", ""))
        self._subscribers.append(waiting)
        context.add_callback(lambda: waiting.put(None))
        empty = types_pb2.Datapoint()
        yield val_pb2.SubscribeResponse(entries={path: self.values.get(path, empty) for path in request.signal_paths})
        self.subscribed.set()
        while (response := waiting.get()) is not None:
            yield response
        self._subscribers.remove(waiting)

    def Actuate(self, request: Any, context: Any) -> Any:
        if self.fails is not None:
            context.abort(self.fails, "as the test wants it")
        value = getattr(request.value, request.value.WhichOneof("typed_value"))
        self.actuated.append((request.signal_id.path, value))
        self.provider(request.signal_id.path, value)
        return val_pb2.ActuateResponse()


@contextmanager
def databroker(broker: Databroker, port: int = 0, credentials: Any = None) -> Iterator[int]:
    """Serves on the loopback interface; yields its port."""
    pool = ThreadPoolExecutor(max_workers=8)
    server = grpc.server(pool, options=[("grpc.so_reuseport", 0)])
    val_pb2_grpc.add_VALServicer_to_server(broker, server)
    address = f"127.0.0.1:{port}"
    taken = server.add_secure_port(address, credentials) if credentials else server.add_insecure_port(address)
    server.start()
    try:
        yield int(taken)
    finally:
        broker.end()
        broker.subscribed.clear()
        server.stop(0).wait()
        pool.shutdown()
