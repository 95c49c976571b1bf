"""A real Node-RED with a flow, on a free port of the loopback interface."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from lineside.edge.demo.broker import HOST
from tests.conftest import ROOT
from tests.support.broker import free_port
from tests.support.wait import until

PROGRAM = ROOT / "build/node-red/node_modules/node-red/red.js"
MISSING = "needs node, and node-red in build/node-red: see CONTRIBUTING.md"


def is_there() -> bool:
    return shutil.which("node") is not None and PROGRAM.exists()


class NodeRed:
    """Runs `flow` from its start to its end: `with NodeRed(folder, flow) as node_red`."""

    def __init__(self, folder: Path, flow: list[dict[str, Any]]) -> None:
        folder.mkdir()
        self._folder, self._port = folder, free_port()
        settings = {
            "uiHost": HOST,
            "uiPort": self._port,
            "userDir": str(folder),
            "flowFile": str(folder / "flows.json"),
            "credentialSecret": False,
            "telemetry": {"enabled": False},
            "logging": {"console": {"level": "info"}},
        }
        (folder / "flows.json").write_text(json.dumps(flow))
        (folder / "settings.js").write_text(f"module.exports = {json.dumps(settings)};")

    def __enter__(self) -> Self:
        command = ["node", str(PROGRAM), "--settings", str(self._folder / "settings.js")]
        log = (self._folder / "log").open("wb")
        self._process = subprocess.Popen(command, cwd=self._folder, stdout=log, stderr=log, env={**os.environ})
        log.close()
        until(self._is_up)
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _tb: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()

    def press(self, button: str) -> None:
        """The button of an inject node."""
        request = urllib.request.Request(f"http://{HOST}:{self._port}/inject/{button}", method="POST", data=b"")
        urllib.request.urlopen(request).close()

    def log(self) -> str:
        return (self._folder / "log").read_text()

    def _is_up(self) -> bool:
        assert self._process.poll() is None, self.log()
        try:
            urllib.request.urlopen(f"http://{HOST}:{self._port}/flows").close()
        except (urllib.error.URLError, ConnectionError):
            return False
        return True
