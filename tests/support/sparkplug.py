"""A host application of Sparkplug B in a process and an environment of its own, and results to tell it."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lineside.edge.demo.broker import HOST
from lineside.edge.wire.messages import InspectionResult, Verdict, WireModel, WireTimings
from lineside.edge.wire.views import WireDefect
from tests.conftest import ROOT
from tests.support.wait import LIMIT_S

PYTHON = ROOT / "build/sparkplug/bin/python"
MISSING = "needs pysparkplug in build/sparkplug: see CONTRIBUTING.md"
GROUP, NODE = "plant1", "press4"
Heard = dict[str, Any]


class Host:
    """What it hears, in the order in which it came."""

    def __init__(self, port: int) -> None:
        script = Path(__file__).with_name("sparkplug_host.py")
        command = [str(PYTHON), str(script), HOST, str(port), GROUP]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.heard: list[Heard] = []
        self._condition = threading.Condition()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()
        self.wait_for("listening")

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._condition:
                self.heard.append(json.loads(line))
                self._condition.notify_all()

    def wait_for(self, kind: str, count: int = 1, where: Callable[[Heard], bool] = lambda _heard: True) -> list[Heard]:
        deadline = time.monotonic() + LIMIT_S
        with self._condition:
            while True:
                found = [each for each in self.heard if each["kind"] == kind and where(each)]
                if len(found) >= count:
                    return found
                left = deadline - time.monotonic()
                assert left > 0, [(each["kind"], each.get("device"), each.get("seq")) for each in self.heard]
                self._condition.wait(left)

    def ask_for_rebirth(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"rebirth {NODE}\n")
        self._process.stdin.flush()

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self._thread.join()
        for end in (self._process.stdin, self._process.stdout):
            if end is not None:
                end.close()


def result(number: int, camera: str = "top", verdict: Verdict = "fail") -> InspectionResult:
    """One of a second after the other."""
    return InspectionResult(
        id=f"id-{number}",
        camera=camera,
        part_id=f"A-{number}",
        captured_at=datetime.fromtimestamp(1_700_000_000 + number, UTC),
        verdict=verdict,
        confidence=0.9,
        fail_probability=0.9,
        defects=[WireDefect(type="pitting", box=(1, 2, 3, 4))] if verdict == "fail" else [],
        complete=True,
        model=WireModel(name="default", sha256="ab"),
        timing_ms=WireTimings(queue=1, gate=0, preprocess=1, vision=1, prefill=1, decode=1, total=42.5),
        frame_sha256="cd",
    )
