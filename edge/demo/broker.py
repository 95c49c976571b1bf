"""An embedded MQTT 5 broker for the demo (iotcore). For anything else, run Mosquitto."""

from __future__ import annotations

import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lineside.edge.errors import BrokerError

HOST = "127.0.0.1"
TEMPLATE = """
id = 0

[router]
id = 0
max_connections = 100
max_outgoing_packet_count = 200
max_segment_size = 104857600
max_segment_count = 10

[v5.1]
name = "v5"
listen = "{host}:{port}"
next_connection_delay_ms = 1

[v5.1.connections]
connection_timeout_ms = 60000
max_payload_size = {payload}
max_inflight_count = 100
dynamic_filters = true
"""
MAX_PAYLOAD_BYTES = 16 * 1024 * 1024


@contextmanager
def embedded_broker() -> Iterator[int]:
    """Run a broker on a free port of the loopback interface; yields the port.

    Raises:
        BrokerError: iotcore is not installed, or does not start.
    """
    try:
        from iotcore import Broker
    except ImportError as error:
        raise BrokerError(
            "the embedded broker needs iotcore: pip install 'lineside[demo]', or name a broker"
        ) from error
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "broker.toml"
        path.write_text(TEMPLATE.format(host=HOST, port=port, payload=MAX_PAYLOAD_BYTES), encoding="utf-8")
        try:
            broker = Broker(config_path=str(path)).start()
        except (OSError, RuntimeError, ValueError) as error:
            raise BrokerError(f"the embedded broker does not start: {error}") from error
        try:
            yield port
        finally:
            broker.stop()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
