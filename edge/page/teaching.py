"""What people's verdicts are made into: `lineside learn` and `lineside calibrate`, one at a time, as processes."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from lineside.edge.config import Config
from lineside.edge.errors import RequestError
from lineside.edge.history.keeper import History
from lineside.edge.history.records import Query, Record
from lineside.edge.page.pictures import frame_path

log = logging.getLogger("lineside.page")
Kind = Literal["learn", "calibrate"]
FOLDERS: dict[Kind, dict[str, str]] = {
    "learn": {"pass": "", "fail": "bad"},
    "calibrate": {"pass": "pass", "fail": "fail"},
}
"""Where each command looks for good and for bad pictures, below the folder that it is given."""
LINES_SHOWN = 200


@dataclass
class Job:
    """One run. `code` is None while it goes on."""

    kind: Kind
    camera: str
    good: int
    bad: int
    lines: list[str] = field(default_factory=list)
    code: int | None = None


class Teaching:
    """Any thread may ask.

    Args:
        config: the station's, as it is now.
        taken: called when a run ended well, so that the station takes up what it left.
    """

    def __init__(self, config: Callable[[], Config], history: History, taken: Callable[[], None]) -> None:
        self._config, self._history, self._taken = config, history, taken
        self._lock = threading.Lock()
        self._job: Job | None = None
        self._process: subprocess.Popen[str] | None = None

    def now(self) -> Job | None:
        """The latest run, ended or not."""
        with self._lock:
            return self._job

    def start(self, kind: Kind, camera: str) -> Job:
        """From what people said of the pictures that this camera's history keeps.

        Raises:
            RequestError: one is under way, no such camera, or nobody has said anything.
        """
        config = self._config()
        if camera not in config.cameras:
            raise RequestError("unknown_camera", f"{camera!r} is not in the station file's [cameras]")
        with self._lock:
            if self._job is not None and self._job.code is None:
                raise RequestError("busy", f"{self._job.kind} of {self._job.camera} is under way")
            folder = self._history.folder / "reviewed" / camera / kind
            good, bad = self._lay_out(kind, camera, folder)
            if not good and not bad:
                raise RequestError("no_reviews", f"nobody has said `pass` or `fail` of a picture of {camera} yet")
            job = self._job = Job(kind, camera, good, bad)
            self._process = process = subprocess.Popen(
                [sys.executable, "-m", "lineside", kind, str(config.file), str(folder), "--camera", camera],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                text=True,
                errors="replace",
            )
        threading.Thread(target=self._follow, args=(job, process), name=f"page-{kind}", daemon=True).start()
        return job

    def picture(self, kind: Kind, camera: str) -> Path:
        """What the command has drawn; it may not be there."""
        config = self._config()
        if kind == "learn":
            return config.gate_path(camera).with_suffix(".jpg")
        return config.calibration_path.with_suffix(f".{camera}.png")

    def close(self) -> None:
        """A run that is under way is broken off: it has written nothing yet, or all."""
        with self._lock:
            process, self._process = self._process, None
        if process is not None and process.poll() is None:
            process.terminate()
            process.wait()

    def _lay_out(self, kind: Kind, camera: str, folder: Path) -> tuple[int, int]:
        """A fresh folder with the reviewed frames where the command wants them; how many are good, and bad."""
        shutil.rmtree(folder, ignore_errors=True)
        counts = {"pass": 0, "fail": 0}
        for record in self._history.search(Query(camera=camera)):
            said = self._history.reviewed(record.id)
            path = frame_path(self._history, record)
            if said in counts and path is not None and path.exists():
                self._place(path, folder / FOLDERS[kind][said], record)
                counts[said] += 1
        return counts["pass"], counts["fail"]

    def _place(self, path: Path, folder: Path, record: Record) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        target = folder / f"{record.id}{path.suffix}"
        try:
            os.link(path, target)
        except OSError:
            shutil.copyfile(path, target)

    def _follow(self, job: Job, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        with process.stdout as lines:
            for line in lines:
                job.lines = [*job.lines, line.rstrip()][-LINES_SHOWN:]
        code = process.wait()
        if code == 0:
            self._taken()
        else:
            log.error("%s of %s ended with %d: %s", job.kind, job.camera, code, job.lines[-1:] or "")
        job.code = code
