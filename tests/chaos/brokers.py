"""The brokers: Mosquitto, and the one that is embedded for the demo. Both can be killed and come back."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from lineside.edge.demo.broker import HOST, MAX_PAYLOAD_BYTES, TEMPLATE
from tests.support.broker import Mosquitto, free_port

MOSQUITTO, EMBEDDED = "mosquitto", "embedded"


class Broker(Protocol):
    """Attributes:
    port: the same after each start.
    """

    port: int

    def start(self) -> None: ...

    def stop(self) -> None:
        """As a power cut: SIGKILL."""


class Embedded:
    """iotcore, which is a process of its own. It keeps nothing over a restart."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self._path = folder / "embedded.toml"
        self._path.write_text(TEMPLATE.format(host=HOST, port=self.port, payload=MAX_PAYLOAD_BYTES))
        self._broker: Any = None
        self.start()

    def start(self) -> None:
        from iotcore import Broker as IotCore

        self._broker = IotCore(config_path=str(self._path)).start()

    def stop(self) -> None:
        if self._broker is not None:
            self._broker._process.kill()
            self._broker.stop()
            self._broker = None


def open_broker(kind: str, folder: Path) -> Mosquitto | Embedded:
    return Embedded(folder) if kind == EMBEDDED else Mosquitto(folder, persistence=True)
