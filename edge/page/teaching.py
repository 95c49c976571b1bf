"""What people's verdicts are made into: `lineside learn` and `lineside calibrate`, one at a time, as processes."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from lineside.edge.config import Config
from lineside.edge.errors import EdgeError, RequestError
from lineside.edge.history.keeper import History
from lineside.edge.page.pictures import frame_path
from lineside.edge.tuning.learn import MOST_PICTURES
from lineside.edge.wire.messages import Verdict
from lineside.runtime.errors import EngineError

log = logging.getLogger("lineside.page")
Kind = Literal["learn", "calibrate"]
FOLDERS: dict[Kind, dict[Verdict, str]] = {
    "learn": {"pass": "", "fail": "bad"},
    "calibrate": {"pass": "pass", "fail": "fail"},
}
"""Where each command looks for good and for bad pictures, below the folder that it is given."""
LINES_SHOWN = 200
NICE = 10
"""Frames come first: the command has one thread, and what the station leaves of the cores."""


@dataclass
class Job:
    """One run. `code` is None while it goes on; 0 where it ended well and the station has taken up what it left."""

    kind: Kind
    camera: str
    good: int = 0
    bad: int = 0
    lines: list[str] = field(default_factory=list)
    code: int | None = None


class Teaching:
    """Any thread may ask.

    Args:
        config: the station's, as it is now.
        take_up: called when a run ended well; raises EdgeError, EngineError where the station keeps what it had.
    """

    def __init__(self, config: Callable[[], Config], history: History, take_up: Callable[[], None]) -> None:
        self._config, self._history, self._take_up = config, history, take_up
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self.job: Job | None = None
        """The latest run, ended or not."""

    def start(self, kind: Kind, camera: str) -> Job:
        """From what people said of the pictures that this camera's history keeps: the newest of them.

        Raises:
            RequestError: one is under way, no such camera, or nobody has said anything.
        """
        config = self._config()
        if camera not in config.cameras:
            raise RequestError("unknown_camera", f"{camera!r} is not in the station file's [cameras]")
        with self._lock:
            before = self.job
            if before is not None and before.code is None:
                raise RequestError("busy", f"{before.kind} of {before.camera} is under way")
            job = self.job = Job(kind, camera)
        folder = self._history.folder / "reviewed" / camera / kind
        try:
            job.good, job.bad = (self._lay_out(camera, said, folder / FOLDERS[kind][said]) for said in FOLDERS[kind])
            if not job.good and not job.bad:
                raise RequestError("no_reviews", f"nobody has said `pass` or `fail` of a picture of {camera} yet")
            process = self._begin(config, job, folder)
        except BaseException:
            self.job = before
            shutil.rmtree(folder, ignore_errors=True)
            raise
        threading.Thread(target=self._follow, args=(job, process, folder), name=f"page-{kind}", daemon=True).start()
        return job

    def picture(self, kind: Kind, camera: str) -> Path:
        """What the command has drawn; it may not be there."""
        config = self._config()
        if kind == "learn":
            return config.gate_path(camera).with_suffix(".jpg")
        return config.calibration_path.with_suffix(f".{camera}.png")

    def close(self) -> None:
        """A run that is under way is broken off: it has written nothing yet, or all."""
        process, self._process = self._process, None
        if process is not None and process.poll() is None:
            process.terminate()
            process.wait()

    def _lay_out(self, camera: str, said: Verdict, folder: Path) -> int:
        """Put the frames of which people said so where the command wants them; how many."""
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        count = 0
        for record in self._history.reviewed(camera, said, MOST_PICTURES):
            path = frame_path(self._history, record)
            if path is not None and path.exists():
                target = folder / f"{record.id}{path.suffix}"
                try:
                    os.link(path, target)
                except OSError:
                    shutil.copyfile(path, target)
                count += 1
        return count

    def _begin(self, config: Config, job: Job, folder: Path) -> subprocess.Popen[str]:
        process = self._process = subprocess.Popen(
            [sys.executable, "-m", "lineside", job.kind, str(config.file), str(folder), "--camera", job.camera],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            errors="replace",
            env=os.environ | {"LINESIDE_MODEL__THREADS": "1"},
        )
        with suppress(OSError):  # it may have ended already
            os.setpriority(os.PRIO_PROCESS, process.pid, NICE)
        return process

    def _follow(self, job: Job, process: subprocess.Popen[str], folder: Path) -> None:
        assert process.stdout is not None
        with process.stdout as lines:
            for line in lines:
                job.lines = [*job.lines, line.rstrip()][-LINES_SHOWN:]
        code = process.wait()
        shutil.rmtree(folder, ignore_errors=True)
        if code == 0:
            try:
                self._take_up()
            except (EdgeError, EngineError) as error:
                job.lines = [*job.lines, f"not taken up: {error}"]
                code = 1
        if code:
            log.error("%s of %s ended with %d: %s", job.kind, job.camera, code, job.lines[-1:] or "")
        job.code = code
