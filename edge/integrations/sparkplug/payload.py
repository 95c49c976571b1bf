"""Payloads of Sparkplug B: what of its Protocol Buffers is needed here, and metrics with their types.

Source: Sparkplug 3.0 (ISO/IEC 20237:2023), "Payloads". The packages with ready classes want a protobuf of years ago,
which nothing else here can be installed beside.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from lineside.edge.errors import EdgeError

INT32, INT64, DOUBLE, BOOLEAN, STRING = 3, 4, 10, 11, 12
"""Datatypes of metrics."""
FIELDS = {
    INT32: "int_value",
    INT64: "long_value",
    DOUBLE: "double_value",
    BOOLEAN: "boolean_value",
    STRING: "string_value",
}
PACKAGE = "lineside.sparkplug"
_Field = descriptor_pb2.FieldDescriptorProto
METRIC = (
    ("name", 1, _Field.TYPE_STRING),
    ("alias", 2, _Field.TYPE_UINT64),
    ("timestamp", 3, _Field.TYPE_UINT64),
    ("datatype", 4, _Field.TYPE_UINT32),
    ("is_historical", 5, _Field.TYPE_BOOL),
    ("is_null", 7, _Field.TYPE_BOOL),
    ("int_value", 10, _Field.TYPE_UINT32),
    ("long_value", 11, _Field.TYPE_UINT64),
    ("double_value", 13, _Field.TYPE_DOUBLE),
    ("boolean_value", 14, _Field.TYPE_BOOL),
    ("string_value", 15, _Field.TYPE_STRING),
)
VALUES_FROM = 10
"""The numbers of the fields of which a metric has one."""
PAYLOAD = (("timestamp", 1, _Field.TYPE_UINT64), ("metrics", 2, _Field.TYPE_MESSAGE), ("seq", 3, _Field.TYPE_UINT64))
BITS = 64


@dataclass(frozen=True)
class Metric:
    """A value with its name and type. `alias` is None where it has none; `value` None is null.

    Attributes:
        timestamp: Unix time in milliseconds of the value.
        named: as births are: with name and type. Data have the alias alone, where there is one.
    """

    name: str
    datatype: int
    value: Any
    timestamp: int
    alias: int | None = None
    historical: bool = False
    named: bool = True


@dataclass(frozen=True)
class Command:
    """A metric of a message to the node: by its name, or by its alias."""

    name: str
    alias: int | None
    value: Any


def encode(timestamp: int, seq: int | None, metrics: Iterable[Metric]) -> bytes:
    """`seq` is left out where None, as in a death of the node."""
    payload = _payload_class()()
    payload.timestamp = timestamp
    if seq is not None:
        payload.seq = seq
    for metric in metrics:
        _add(payload.metrics.add(), metric)
    return bytes(payload.SerializeToString())


def _add(made: Any, metric: Metric) -> None:
    if metric.named or metric.alias is None:
        made.name, made.datatype = metric.name, metric.datatype
    if metric.alias is not None:
        made.alias = metric.alias
    made.timestamp = metric.timestamp
    if metric.historical:
        made.is_historical = True
    if metric.value is None:
        made.is_null = True
    else:
        value = metric.value % (1 << BITS) if metric.datatype == INT64 else metric.value
        setattr(made, FIELDS[metric.datatype], value)


def decode(content: bytes) -> Iterator[Command]:
    """Raises EdgeError where it is no payload."""
    try:
        payload = _payload_class().FromString(content)
    except DecodeError as error:
        raise EdgeError(f"it is no payload of Sparkplug B ({error})") from error
    for metric in payload.metrics:
        field = metric.WhichOneof("value")
        value = getattr(metric, field) if field is not None else None
        yield Command(metric.name, metric.alias if metric.HasField("alias") else None, value)


@cache
def _payload_class() -> Any:
    file = descriptor_pb2.FileDescriptorProto(name=f"{PACKAGE}.proto", package=PACKAGE, syntax="proto2")
    payload = file.message_type.add(name="Payload")
    metric = payload.nested_type.add(name="Metric")
    metric.oneof_decl.add(name="value")
    for name, number, kind in METRIC:
        field = metric.field.add(name=name, number=number, type=kind, label=_Field.LABEL_OPTIONAL)
        if number >= VALUES_FROM:
            field.oneof_index = 0
    for name, number, kind in PAYLOAD:
        field = payload.field.add(name=name, number=number, type=kind, label=_Field.LABEL_OPTIONAL)
        if kind == _Field.TYPE_MESSAGE:
            field.label, field.type_name = _Field.LABEL_REPEATED, f".{PACKAGE}.Payload.Metric"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{PACKAGE}.Payload"))
