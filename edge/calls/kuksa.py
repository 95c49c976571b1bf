"""The connection to a KUKSA databroker: sets signals, and hears what they are (its API `kuksa.val.v2`, over gRPC).

Nothing is kept for a databroker that is away: a call fails at once, and the states of signals are forgotten until they
are heard again. How old a value is, its own time says; one without a time, or from the future, has no age.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
from kuksa.val.v2 import types_pb2, val_pb2, val_pb2_grpc

from lineside.edge.calls.bindings import Done
from lineside.edge.calls.states import States
from lineside.edge.counters import Counters
from lineside.edge.degraded import Degraded
from lineside.edge.topic_choice import KUKSA
from lineside.edge.vss_config import KuksaConfig
from lineside.edge.wire.causes import Reports

log = logging.getLogger("lineside.kuksa")
AGAIN_S = 1.0
ASK_S = 5.0
"""How long a question about a signal may take."""
SKEW_S = 1.0
"""How far the databroker's clock may be ahead."""
FLOAT_DIGITS = 7
FIELDS = {
    types_pb2.DATA_TYPE_STRING: "string",
    types_pb2.DATA_TYPE_BOOLEAN: "bool",
    **dict.fromkeys((types_pb2.DATA_TYPE_INT8, types_pb2.DATA_TYPE_INT16, types_pb2.DATA_TYPE_INT32), "int32"),
    types_pb2.DATA_TYPE_INT64: "int64",
    **dict.fromkeys((types_pb2.DATA_TYPE_UINT8, types_pb2.DATA_TYPE_UINT16, types_pb2.DATA_TYPE_UINT32), "uint32"),
    types_pb2.DATA_TYPE_UINT64: "uint64",
    types_pb2.DATA_TYPE_FLOAT: "float",
    types_pb2.DATA_TYPE_DOUBLE: "double",
}
"""The databroker's type of a signal -> the field of a value."""


class KuksaLink:
    """One databroker.

    Args:
        resolve: makes a path of the station file one that can be opened.
    """

    def __init__(
        self, config: KuksaConfig, resolve: Callable[[str], Path], degraded: Degraded, counters: Counters
    ) -> None:
        self._config, self._resolve = config, resolve
        self._degraded, self._counters, self._reports = degraded, counters, Reports(log)
        self._lock = threading.Lock()
        self._channel: grpc.Channel | None = None
        self._stub: Any = None
        self._token: list[tuple[str, str]] = []
        self._types: dict[str, int] = {}
        self._hearing: _Hearing | None = None

    def hear(self, states: States) -> None:
        """Subscribe to the signals of these states, and no others."""
        self.stop_hearing()
        if states.signals:
            self._hearing = _Hearing(self, states)
            self._hearing.thread.start()

    def stop_hearing(self) -> None:
        hearing, self._hearing = self._hearing, None
        if hearing is not None:
            hearing.stop()

    def close(self) -> None:
        self.stop_hearing()
        self._disconnect()

    def actuate(self, signal: str, value: Any, timeout_s: float) -> Done:
        """Ask for a value of a signal; `issued` where the databroker has handed it on."""
        where, deadline = f"the databroker at {self._config.address}", time.monotonic() + timeout_s
        if self._hearing is not None and not self._hearing.up.is_set():
            return Done("failed", f"{where} cannot be reached: {signal} was not set")
        try:
            stub, token = self._connected()
            wanted = self._value(signal, value, stub, token, timeout_s)
            left_s = max(deadline - time.monotonic(), 0.001)
            request = val_pb2.ActuateRequest(signal_id=types_pb2.SignalID(path=signal), value=wanted)
            stub.Actuate(request, timeout=left_s, metadata=token)
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
                return Done("expired", f"{where} did not answer within {timeout_s:g} s: {signal} may have been set")
            return Done("failed", f"{signal} was not set: {_said(error, where)}")
        except (OSError, ValueError, TypeError) as error:
            return Done("failed", f"{signal} was not set: {error}")
        return Done("issued", f"{signal} was handed to the databroker", {"signal": signal, "value": value})

    def _value(self, signal: str, value: Any, stub: Any, token: list[tuple[str, str]], timeout_s: float) -> Any:
        """As the databroker has it; raises grpc.RpcError, ValueError, TypeError."""
        kind = self._types.get(signal)
        if kind is None:
            kind = self._types[signal] = _type_of(signal, stub, token, timeout_s)
        field = FIELDS.get(kind)
        if field is None:
            raise ValueError(f"its type {types_pb2.DataType.Name(kind)} cannot be set by a call")
        if isinstance(value, bool) != (field == "bool") or isinstance(value, str) != (field == "string"):
            raise ValueError(f"{json.dumps(value)} is no value of type {types_pb2.DataType.Name(kind)}")
        return types_pb2.Value(**{field: value})

    def _connected(self) -> tuple[Any, list[tuple[str, str]]]:
        """Raises OSError where a file cannot be read."""
        with self._lock:
            if self._channel is None:
                self._token = self._read_token()
                self._channel = self._open()
                self._stub = val_pb2_grpc.VALStub(self._channel)
            return self._stub, self._token

    def _disconnect(self) -> None:
        with self._lock:
            channel, self._channel = self._channel, None
            self._types.clear()
        if channel is not None:
            channel.close()

    def _open(self) -> grpc.Channel:
        """A call is sent once, or not at all."""
        options = [("grpc.enable_retries", 0)]
        if not self._config.tls:
            return grpc.insecure_channel(self._config.address, options)
        authority = self._resolve(self._config.ca_file).read_bytes() if self._config.ca_file else None
        credentials = grpc.ssl_channel_credentials(root_certificates=authority)
        return grpc.secure_channel(self._config.address, credentials, options)

    def _read_token(self) -> list[tuple[str, str]]:
        if not self._config.token_file:
            return []
        token = self._resolve(self._config.token_file).read_text(encoding="utf-8").strip()
        return [("authorization", f"Bearer {token}")]

    # On the thread of `_Hearing`

    def subscribe(self, states: States, opened: Callable[[Any], None]) -> None:
        """Hear until the stream ends; `opened` gets it. Raises grpc.RpcError, OSError."""
        stub, token = self._connected()
        known, unknown = [], []
        for signal in states.signals:
            try:
                self._types[signal] = _type_of(signal, stub, token, ASK_S)
                known.append(signal)
            except grpc.RpcError as error:
                if error.code() is not grpc.StatusCode.NOT_FOUND:
                    raise
                unknown.append(signal)
        if unknown:
            self._degraded.set("kuksa signals", f"the databroker does not know {', '.join(unknown)}")
        else:
            self._degraded.clear("kuksa signals")
        stream = stub.Subscribe(val_pb2.SubscribeRequest(signal_paths=known), metadata=token)
        opened(stream)
        for response in stream:
            self._degraded.clear("kuksa")
            for signal, point in response.entries.items():
                self._take(states, signal, point)

    def _take(self, states: States, signal: str, point: Any) -> None:
        kind = point.value.WhichOneof("typed_value") if point.HasField("value") else None
        payload, age_s = b"", time.time() - (point.timestamp.seconds + point.timestamp.nanos * 1e-9)
        if kind is not None:
            payload = json.dumps(_plain(kind, getattr(point.value, kind))).encode()
        ageless = not point.HasField("timestamp") or age_s < -SKEW_S
        states.take(f"{KUKSA}{signal}", payload, retained=ageless, age_s=0.0 if ageless else max(age_s, 0.0))

    def lost(self, states: States, error: Exception) -> None:
        """The stream has ended: nothing is known of any signal until it is heard again."""
        where = f"the databroker at {self._config.address}"
        why = _said(error, where) if isinstance(error, grpc.RpcError) else str(error)
        states.forget(of_kuksa=True)
        self._disconnect()
        self._counters.add("kuksa_lost")
        sentence = f"signals of the vehicle are not known, and cannot be set: {why}"
        self._degraded.set("kuksa", sentence)
        self._reports.say(sentence)


class _Hearing:
    """A thread that subscribes, again and again, until it is stopped."""

    def __init__(self, link: KuksaLink, states: States) -> None:
        self._link, self._states = link, states
        self.up = threading.Event()
        self._stopped = threading.Event()
        self._stream: Any = None
        self.thread = threading.Thread(target=self._run, name="kuksa", daemon=True)

    def _run(self) -> None:
        while not self._stopped.is_set():
            ended: Exception = ConnectionError("the databroker has ended the subscription")
            try:
                self._link.subscribe(self._states, self._opened)
            except (grpc.RpcError, OSError, ValueError) as error:
                ended = error
            self.up.clear()
            if self._stopped.is_set():
                return
            self._link.lost(self._states, ended)
            self._stopped.wait(AGAIN_S)

    def _opened(self, stream: Any) -> None:
        self._stream = stream
        self.up.set()
        if self._stopped.is_set():
            stream.cancel()

    def stop(self) -> None:
        self._stopped.set()
        if self._stream is not None:
            self._stream.cancel()
        if self.thread.is_alive():
            self.thread.join(timeout=5)
        self._states.forget(of_kuksa=True)


def _type_of(signal: str, stub: Any, token: list[tuple[str, str]], timeout_s: float) -> int:
    """Raises grpc.RpcError."""
    answer = stub.ListMetadata(val_pb2.ListMetadataRequest(root=signal), timeout=timeout_s, metadata=token)
    kinds = [int(each.data_type) for each in answer.metadata if each.path == signal]
    return kinds[0] if kinds else int(types_pb2.DATA_TYPE_UNSPECIFIED)


def _plain(kind: str, value: Any) -> Any:
    """As JSON; a float of 32 bits with the digits that it has."""
    if kind.endswith("_array"):
        return list(value.values)
    return float(f"{value:.{FLOAT_DIGITS}g}") if kind == "float" else value


def _said(error: Any, where: str) -> str:
    """A sentence for an error of gRPC."""
    code, details = error.code(), " ".join((error.details() or "").split())[:200]
    if code is grpc.StatusCode.UNAVAILABLE:
        return f"{where} cannot be reached, or nothing there sets it ({details})"
    if code in (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED):
        return f"{where} does not allow it ({details}): look at `kuksa.token_file`"
    if code is grpc.StatusCode.NOT_FOUND:
        return f"{where} does not know it ({details})"
    return f"{where} refuses it ({code.name}: {details})"
