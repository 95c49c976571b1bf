"""A real Mosquitto, started for a test on a free port of the loopback interface."""

from __future__ import annotations

import random
import shutil
import signal
import socket
import subprocess
from pathlib import Path

from lineside.edge.demo.broker import HOST
from tests.support.wait import until

CONFIG = """
listener {port} {host}
allow_anonymous true
persistence {persistence}
persistence_location {folder}/
autosave_on_changes true
autosave_interval 1
set_tcp_nodelay true
max_packet_size {max_packet}
max_queued_messages 10000
acl_file {rules}
user root
"""


def free_port() -> int:
    """Below those that the system hands out to clients, so that nobody gets it while a broker is away."""
    while True:
        port = random.SystemRandom().randrange(12_000, 32_000)
        with socket.socket() as probe:
            if probe.connect_ex((HOST, port)) != 0:
                return port


class Mosquitto:
    """Can be stopped and started again on the same port, as in an outage.

    With `persistence` it then has what it had, unless `forget` was called meanwhile.
    """

    def __init__(self, folder: Path, max_packet: int = 2_000_000, *, persistence: bool = False) -> None:
        program = shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
        assert program, "Mosquitto is missing: run `make test`, which installs it"
        self._program = program
        self.port = free_port()
        self._config = folder / "mosquitto.conf"
        self._rules = folder / "rules"
        self._persistence = persistence
        self._config.write_text(self.configuration(folder, max_packet))
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def configuration(self, folder: Path, max_packet: int) -> str:
        self._rules.write_text("topic readwrite #\npattern readwrite #\n")
        return CONFIG.format(
            host=HOST,
            port=self.port,
            max_packet=max_packet,
            rules=self._rules,
            persistence="true" if self._persistence else "false",
            folder=folder,
        )

    @property
    def station_access(self) -> dict[str, object]:
        """What a station's `[mqtt]` needs besides host and port."""
        return {}

    @property
    def client_access(self) -> dict[str, str]:
        return {}

    def start(self) -> None:
        self._process = process = subprocess.Popen([self._program, "-c", str(self._config)], stderr=subprocess.DEVNULL)

        def listening() -> bool:
            assert process.poll() is None, "Mosquitto does not start"
            with socket.socket() as probe:
                return probe.connect_ex((HOST, self.port)) == 0

        until(listening)

    def restart_with_password(self, username: str, password: str) -> None:
        """Let nobody else in from now on."""
        self.stop()
        file = self._config.with_name("passwords")
        program = shutil.which("mosquitto_passwd")
        assert program
        subprocess.run([program, "-b", "-c", str(file), username, password], check=True, stderr=subprocess.DEVNULL)
        lines = self._config.read_text().replace("allow_anonymous true", f"allow_anonymous false\npassword_file {file}")
        self._config.write_text(lines)
        self.start()

    def restrict(self, rules: str) -> None:
        """Set the access rules, in Mosquitto's own words, beneath the live connections."""
        self._rules.write_text(rules)
        if self._process is not None:
            self._process.send_signal(signal.SIGHUP)

    def forget(self) -> None:
        """Between `stop` and `start`: its sessions, its retained and its queued messages are lost."""
        (self._config.parent / "mosquitto.db").unlink(missing_ok=True)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
