"""A member of a group, as a process that can be killed; the model is left out (`tests.chaos.launcher`)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from lineside.edge.wire.topics import GroupTopics, Topics
from tests.chaos.launcher import BEGUN_VARIABLE, COST_VARIABLE, DECODE_VARIABLE, WILL_VARIABLE
from tests.conftest import ROOT

GROUP = GroupTopics("lineside/groups/line-3", "line-3")
STATION = """
[station]
name = "{name}"
drain_s = 0
[group]
name = "line-3"
[mqtt]
host = "127.0.0.1"
port = {port}
[model]
device = "cpu"
threads = 1
[inspect]
part = "ball screw"
max_age_s = 3600
[history]
frames = []
[cameras.cam0]
kind = "mqtt"
"""


class Member:
    """Runs from its making.

    Args:
        cost_s: of each picture.
        will_s: how long the broker waits before it says that a member is gone.
    """

    def __init__(self, folder: Path, port: int, name: str, cost_s: float = 0.0, will_s: int = 0) -> None:
        self.topics, self.name = Topics(f"lineside/{name}"), name
        self._folder = folder / name
        self._folder.mkdir(exist_ok=True)
        self.begun = self._folder / "begun"
        self._file = self._folder / "station.toml"
        self._file.write_text(STATION.format(name=name, port=port))
        self._environment = os.environ | {
            "PYTHONPATH": str(ROOT),
            DECODE_VARIABLE: "0",
            COST_VARIABLE: str(cost_s),
            BEGUN_VARIABLE: str(self.begun),
            WILL_VARIABLE: str(will_s),
        }
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "tests.chaos.launcher", "run", "-c", str(self._file)]
        with open(self._folder / "log", "ab") as log:
            self._process = subprocess.Popen(command, env=self._environment, cwd=ROOT, stdout=log, stderr=log)

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def terminate(self) -> None:
        self._end(signal.SIGTERM)

    def _end(self, with_signal: signal.Signals) -> None:
        if self._process.poll() is None:
            self._process.send_signal(with_signal)
        self._process.wait(60)
