"""A real Mosquitto, started for a test on a free port of the loopback interface."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

from lineside.edge.demo.broker import HOST, free_port

CONFIG = """
listener {port} {host}
allow_anonymous true
persistence false
set_tcp_nodelay true
max_packet_size {max_packet}
max_queued_messages 10000
acl_file {rules}
user root
"""


class Mosquitto:
    """Can be stopped and started again on the same port, as in an outage."""

    def __init__(self, folder: Path, max_packet: int = 2_000_000) -> None:
        program = shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
        assert program, "Mosquitto is missing: run `make test`, which installs it"
        self._program = program
        self.port = free_port()
        self._config = folder / "mosquitto.conf"
        self._rules = folder / "rules"
        self._rules.write_text("topic readwrite #\npattern readwrite #\n")
        self._config.write_text(CONFIG.format(host=HOST, port=self.port, max_packet=max_packet, rules=self._rules))
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen([self._program, "-c", str(self._config)], stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            try:
                socket.create_connection((HOST, self.port), timeout=0.2).close()
                return
            except OSError:
                time.sleep(0.02)
        raise AssertionError("Mosquitto does not start")

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

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
