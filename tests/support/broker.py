"""A real Mosquitto, started for a test on a free port of the loopback interface."""

from __future__ import annotations

import random
import shutil
import socket
import subprocess
from pathlib import Path

from lineside.edge.demo.broker import HOST
from tests.support.wait import until

CONFIG = """
listener {port} {host}
allow_anonymous true
persistence false
set_tcp_nodelay true
max_packet_size {max_packet}
max_queued_messages 10000
"""


def free_port() -> int:
    """Below those that the system hands out to clients, so that nobody gets it while a broker is away."""
    while True:
        port = random.SystemRandom().randrange(12_000, 32_000)
        with socket.socket() as probe:
            if probe.connect_ex((HOST, port)) != 0:
                return port


class Mosquitto:
    """Can be stopped and started again on the same port, as in an outage."""

    def __init__(self, folder: Path, max_packet: int = 2_000_000) -> None:
        program = shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
        assert program, "Mosquitto is missing: run `make test`, which installs it"
        self._program = program
        self.port = free_port()
        self._config = folder / "mosquitto.conf"
        self._config.write_text(CONFIG.format(host=HOST, port=self.port, max_packet=max_packet))
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        self._process = process = subprocess.Popen([self._program, "-c", str(self._config)], stderr=subprocess.DEVNULL)

        def listening() -> bool:
            assert process.poll() is None, "Mosquitto does not start"
            with socket.socket() as probe:
                return probe.connect_ex((HOST, self.port)) == 0

        until(listening)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
