"""The station under test: its file, and the daemon as a process that can be killed."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from lineside.edge.wire.topics import Topics
from tests.benchmarks.results import ROOT
from tests.chaos.tools import FILE_VARIABLE

TOPICS = Topics("chaos/line1")
ACT, NOTE = "act", "note"
"""Two tools: what the first does is said over MQTT, the second is a Python function."""
REQUEST = (
    'parameters = { type = "object", properties = { request = { type = "string" } }, required = ["request"], '
    "additionalProperties = false }"
)
TEMPLATE = """
[station]
name = "chaos"
base_topic = "{base}"

[mqtt]
host = "127.0.0.1"
port = {port}
keepalive_s = {keepalive_s}
session_expiry_s = 86400

[model]
device = "cpu"
threads = 1

[inspect]
max_age_s = {max_age_s}

[commands]
expiry_s = 3600

{cameras}

[tools.act]
description = "Act."
wait_s = 3
unchecked = ["confidence", "words", "values", "negation", "question"]
{request}

[tools.note]
description = "Note."
python = "tests.chaos.tools:note"
unchecked = ["confidence", "words", "values", "negation", "question"]
{request}
"""


@dataclass
class Station:
    """A daemon's process, of which there is one at a time.

    Attributes:
        cameras: of the station file, as TOML.
        real_model: run `lineside` itself; otherwise `tests.chaos.launcher`, with the model left out.
        clock: a file with the error of the daemon's clock (`tests.chaos.clock`); none where it has none.
    """

    folder: Path
    port: int
    keepalive_s: int = 10
    max_age_s: float = 3600.0
    cameras: str = '[cameras.cam0]\nkind = "mqtt"'
    real_model: bool = False
    decodes: bool = True
    clock: Path | None = None
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)
    starts: int = field(default=0, init=False)

    @property
    def notes(self) -> Path:
        return self.folder / "notes"

    @property
    def log(self) -> Path:
        return self.folder / "daemon.log"

    def start(self) -> None:
        file = self.folder / "station.toml"
        file.write_text(
            TEMPLATE.format(
                base=TOPICS.base,
                port=self.port,
                keepalive_s=self.keepalive_s,
                max_age_s=self.max_age_s,
                cameras=self.cameras,
                request=REQUEST,
            )
        )
        module = "lineside" if self.real_model else "tests.chaos.launcher"
        self.starts += 1
        with open(self.log, "ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module, "run", "-c", str(file)],
                env=self._environment(),
                cwd=ROOT,
                stdout=log,
                stderr=log,
            )

    def _environment(self) -> dict[str, str]:
        added = {FILE_VARIABLE: str(self.notes), "PYTHONPATH": str(ROOT), "CHAOS_DECODE": str(int(self.decodes))}
        if self.clock is not None:
            added["CHAOS_CLOCK"] = str(self.clock)
        return os.environ | added

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def is_alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """At once, as the power does it."""
        self._end(signal.SIGKILL)

    def terminate(self) -> int:
        """As the service manager does it; returns the exit code."""
        return self._end(signal.SIGTERM)

    def _end(self, with_signal: signal.Signals) -> int:
        process, self._process = self._process, None
        if process is None:
            return 0
        process.send_signal(with_signal)
        try:
            return process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError(f"the daemon does not end on {with_signal.name}: see {self.log}") from None

    def limit_files(self, most_bytes: int | None) -> None:
        """No file may grow beyond `most_bytes`, as on a disk that is full; None lets them grow again."""
        hard = resource.prlimit(self.pid, resource.RLIMIT_FSIZE)[1]
        resource.prlimit(self.pid, resource.RLIMIT_FSIZE, (hard if most_bytes is None else most_bytes, hard))

    def resident_mb(self) -> float:
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS"):
                return int(line.split()[1]) / 1024
        return 0.0
