"""Home Assistant's core in a process of its own, where its environment is there."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.conftest import ROOT
from tests.support.broker import free_port
from tests.support.wait import until

PYTHON = ROOT / "build/home-assistant/bin/python"
MISSING = "needs Home Assistant in build/home-assistant, which Python 3.13 and a network make: see CONTRIBUTING.md"
CORE = Path(__file__).with_name("home_assistant_core.py")


def is_there() -> bool:
    return (PYTHON.parents[1] / "complete").exists()


class HomeAssistant:
    """Connected to a broker, with MQTT discovery."""

    def __init__(self, folder: Path, broker_port: int) -> None:
        folder.mkdir()
        self._log = (folder / "stderr").open("wb")
        command = [str(PYTHON), str(CORE), str(folder), str(broker_port), str(free_port())]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, text=True
        )
        assert self._process.stdout is not None
        assert "started" in self._process.stdout.readline(), (folder / "stderr").read_text()

    def ask(self, do: str, **body: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"do": do, **body}) + "\n")
        self._process.stdin.flush()
        said = json.loads(self._process.stdout.readline())
        assert "error" not in said, said
        return said["answer"]

    def call(self, service: str, entity_id: str, **data: Any) -> None:
        """Such as `number.set_value`, of an entity."""
        domain, _, name = service.partition(".")
        self.ask("call", domain=domain, service=name, data={"entity_id": entity_id, **data})

    def state(self, entity_id: str) -> dict[str, Any]:
        found: dict[str, Any] = self.ask("states").get(entity_id, {"state": None})
        return found

    def wait_for(self, entity_id: str, state: str | Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
        """Until the entity has this state, or is as the function wants it."""
        last: dict[str, Any] = {}

        def holds() -> Any:
            last.clear()
            last.update(self.state(entity_id))
            return state(last) if callable(state) else last["state"] == state

        try:
            until(holds)
        except AssertionError as error:
            raise AssertionError(f"{entity_id} is {last}, and not {state}") from error
        return last

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(60)
        self._process.stdout.close()
        self._log.close()
