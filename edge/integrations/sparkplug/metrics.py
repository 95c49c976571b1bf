"""What the node and its devices say: names, types and aliases of metrics, and the values of a result."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lineside.edge.integrations.sparkplug.payload import BOOLEAN, DOUBLE, INT32, INT64, STRING, Metric
from lineside.edge.wire.messages import InspectionResult

REBIRTH = "Node Control/Rebirth"
BDSEQ = "bdSeq"
REBIRTH_ALIAS = 0
FIRST_ALIAS, STRIDE = 1000, 100
"""Of a camera's metrics: aliases are the node's, and no two of its metrics have the same."""
MAX_TEXT = 200
DEVICE: tuple[tuple[str, int], ...] = (
    ("Verdict", STRING),
    ("Confidence", DOUBLE),
    ("Fail Probability", DOUBLE),
    ("Defects/Count", INT32),
    ("Defects/Types", STRING),
    ("Late", BOOLEAN),
    ("Latency (ms)", DOUBLE),
    ("Result ID", STRING),
    ("Part ID", STRING),
    ("Frame SHA-256", STRING),
    ("Model", STRING),
    ("Count/pass", INT64),
    ("Count/fail", INT64),
    ("Count/unsure", INT64),
)
"""Every metric of a camera, in the order of its aliases."""
COUNTED = ("pass", "fail", "unsure")


def values_of(result: InspectionResult, counts: Mapping[str, int]) -> dict[str, Any]:
    """The metrics of a result. `counts` are those of its camera since the station's start, with this one."""
    return {
        "Verdict": result.verdict,
        "Confidence": result.confidence,
        "Fail Probability": result.fail_probability,
        "Defects/Count": len(result.defects),
        "Defects/Types": ", ".join(sorted({defect.type for defect in result.defects}))[:MAX_TEXT],
        "Late": bool(result.late),
        "Latency (ms)": result.timing_ms.total,
        "Result ID": result.id,
        "Part ID": result.part_id[:MAX_TEXT],
        "Frame SHA-256": result.frame_sha256,
        "Model": f"{result.model.name} {result.model.sha256}",
    } | {f"Count/{verdict}": counts.get(verdict, 0) for verdict in COUNTED}


def device_metrics(
    values: Mapping[str, Any], timestamp: int, index: int, *, named: bool, historical: bool = False
) -> Iterator[Metric]:
    """Those of the `index`-th camera; all of them in a birth (`named`), in data those that have a value."""
    first = FIRST_ALIAS + STRIDE * index
    for number, (name, datatype) in enumerate(DEVICE):
        if named or name in values:
            yield Metric(name, datatype, values.get(name), timestamp, first + number, historical, named)


def node_metrics(bdseq: int, timestamp: int, properties: Mapping[str, str]) -> Iterator[Metric]:
    """Of a birth."""
    yield Metric(BDSEQ, INT64, bdseq, timestamp)
    yield Metric(REBIRTH, BOOLEAN, False, timestamp, REBIRTH_ALIAS)
    for name, value in properties.items():
        yield Metric(name, STRING, value, timestamp)
