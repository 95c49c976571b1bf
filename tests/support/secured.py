"""Mosquitto as `deploy/mosquitto` sets it up: TLS, a password for everybody, and the access rules of each."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from lineside.edge.demo.broker import HOST
from tests.support.broker import Mosquitto, free_port
from tests.support.station import BASE

ROOT = Path(__file__).parents[2]
DEPLOYED = ROOT / "deploy/mosquitto"
INSTALLED, STORED = "/etc/mosquitto/lineside", "/var/lib/mosquitto/"
USERS = ("press4", "dashboard", "operator", "maintainer", "homeassistant", "camera", "trigger", "actuator", "bench")
BENCH = "\nuser bench\ntopic readwrite #\n"
"""The test's own client, which plays everybody else."""
ELSEWHERE = (
    "#topic write plant/lamp/set",
    "#topic write clients/#",
    "#topic write homeassistant/device/+/config",
    "#topic read homeassistant/status",
)
"""The rules have them commented out."""


def password_of(user: str) -> str:
    return f"{user} has a password"


def make_files(folder: Path) -> Path:
    """Certificates, passwords and access rules, made as the README says: for the base topic of the test's stations."""
    make_certificate(folder, "broker", HOST, "localhost")
    make_certificate(folder, "client", "press4")
    passwords = folder / "passwords"
    passwords.write_text("".join(f"{user}:{password_of(user)}\n" for user in USERS))
    program = shutil.which("mosquitto_passwd")
    assert program
    subprocess.run([program, "-U", passwords], check=True)
    rules = (DEPLOYED / "acl").read_text().replace("lineside/press4", BASE)
    rules = rules.replace("lineside/+", f"{BASE.rpartition('/')[0]}/+")
    for line in ELSEWHERE:
        assert line in rules
        rules = rules.replace(line, line.removeprefix("#"))
    (folder / "acl").write_text(rules + BENCH)
    return folder


def make_certificate(folder: Path, *arguments: str, days: int = 825) -> None:
    script = ["sh", str(DEPLOYED / "make-certificates.sh"), str(folder), *arguments]
    subprocess.run(script, check=True, capture_output=True, env={"PATH": "/usr/bin:/bin", "DAYS": str(days)})


class SecuredMosquitto(Mosquitto):
    """`files` are those of `make_files`; `rules` replaces their access rules.

    `uncommented` are beginnings of lines that are commented out in the configuration.
    """

    def __init__(self, folder: Path, files: Path, *, rules: str = "", uncommented: tuple[str, ...] = ()) -> None:
        self.files, self._uncommented, self.websocket_port = files, uncommented, free_port()
        self._own_rules = rules or (files / "acl").read_text()
        super().__init__(folder)

    def configuration(self, folder: Path, _max_packet: int) -> str:
        self._rules.write_text(self._own_rules)
        text = (DEPLOYED / "mosquitto.conf").read_text()
        for beginning in self._uncommented:
            assert f"\n#{beginning}" in text
            text = text.replace(f"\n#{beginning}", f"\n{beginning}")
        for there, here in (
            ("listener 8883", f"listener {self.port} {HOST}"),
            ("listener 8884", f"listener {self.websocket_port} {HOST}"),
            (f"{INSTALLED}/acl", str(self._rules)),
            (INSTALLED, str(self.files)),
            ("persistence true", "persistence false"),
            (STORED, f"{folder}/"),
        ):
            assert there in text
            text = text.replace(there, here)
        return f"{text}\nuser root\n"

    @property
    def station_access(self) -> dict[str, object]:
        ca = str(self.files / "ca.crt")
        return {"username": "press4", "password": password_of("press4"), "tls": True, "ca_file": ca}

    @property
    def client_access(self) -> dict[str, str]:
        return self.access_of("bench")

    def access_of(self, user: str) -> dict[str, str]:
        return {"username": user, "password": password_of(user), "ca_file": str(self.files / "ca.crt")}
