"""A host application of Sparkplug B, by a library of somebody else. Run with the environment in `build/sparkplug`:
`python sparkplug_host.py HOST PORT GROUP`. It writes what it hears as JSON lines, with metrics by their names, and
sends a rebirth command to NODE for each line `rebirth NODE` that it reads.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import pysparkplug as psp


def say(line: dict[str, Any]) -> None:
    sys.stdout.write(f"{json.dumps(line)}\n")
    sys.stdout.flush()


def write(_client: Any, message: Any) -> None:
    topic, payload = message.topic, message.payload
    death = getattr(payload, "bd_seq_metric", None)  # a node's has this one alone
    metrics = getattr(payload, "metrics", ()) if death is None else (death,)
    line = {
        "kind": str(getattr(topic.message_type, "value", topic.message_type)),
        "node": topic.edge_node_id,
        "device": topic.device_id,
        "seq": getattr(payload, "seq", None),
        "timestamp": payload.timestamp,
        "qos": int(message.qos),
        "retain": bool(message.retain),
        "metrics": {each.name: each.value for each in metrics},
        "types": {each.name: each.datatype.name for each in metrics},
        "aliases": {each.name: each.alias for each in metrics},
        "times": {each.name: each.timestamp for each in metrics},
        "historical": any(each.is_historical for each in metrics),
    }
    say(line)


def main() -> None:
    host, port, group = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    client = psp.Client(client_id="host")
    topic = psp.Topic(group_id=group, message_type="#")
    client._client.on_subscribe = lambda *_: say({"kind": "listening"})
    client.subscribe(topic, psp.QoS.AT_LEAST_ONCE, write)
    client.connect(host, port=port)
    for line in sys.stdin:
        node = line.split()[1]
        metric = psp.Metric(psp.get_current_timestamp(), "Node Control/Rebirth", psp.DataType.BOOLEAN, value=True)
        command = psp.NCmd(psp.get_current_timestamp(), (metric,))
        where = psp.Topic(message_type=psp.MessageType.NCMD, group_id=group, edge_node_id=node)
        client.publish(psp.Message(where, command, psp.QoS.AT_MOST_ONCE, False), include_dtypes=True)


if __name__ == "__main__":
    main()
