"""A call runs a Python function: `python = "package.module:function"`, or the name of an entry point.

Installed packages offer functions in the entry-point group `lineside.tools`. The function gets the arguments by name;
what it returns, if it is JSON, goes into the reply and to the model.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from edge.bindings import Done
from edge.errors import ConfigError
from edge.tool_config import ToolConfig
from runtime.chat import ToolCall
from runtime.tool_calls import load_json

log = logging.getLogger("lineside.bindings")
GROUP = "lineside.tools"


class PythonBinding:
    """Runs functions, one call of each at a time.

    Raises:
        ConfigError: a function cannot be found.
    """

    def __init__(self, tools: Mapping[str, ToolConfig]) -> None:
        self._functions = {name: _load(name, tool.python) for name, tool in tools.items() if tool.python}
        self._busy: set[str] = set()

    def invoke(self, call: ToolCall, tool: ToolConfig, waiting: Callable[[], None]) -> Done:
        """One call of a function at a time; one that takes too long is left running, and said to have expired."""
        if call.name in self._busy:
            return Done("failed", f"an earlier call of {call.name} is still running")
        self._busy.add(call.name)
        finished = threading.Event()
        done: list[Done] = []

        def run() -> None:
            try:
                done.append(_run(self._functions[call.name], call))
            finally:
                self._busy.discard(call.name)
                finished.set()

        threading.Thread(target=run, name=f"tool-{call.name}", daemon=True).start()
        waiting()
        if not tool.wait_s:
            return Done("issued")
        finished.wait(tool.wait_s)
        if not done:
            return Done("expired", f"{call.name} is still running after {tool.wait_s:g} s")
        return done[0]

    def close(self) -> None:
        """Nothing to end: what runs is left to run out."""


def _run(function: Callable[..., Any], call: ToolCall) -> Done:
    try:
        value = function(**call.arguments)
    except Exception as error:  # noqa: BLE001 - somebody else's code: what it raises is what came of the call
        log.warning("%s raised %r", call.name, error)
        return Done("failed", f"{type(error).__name__}: {error}")
    try:
        return Done("achieved", "", load_json(json.dumps(value)))
    except (TypeError, ValueError):
        return Done("achieved", f"it returned a {type(value).__name__}, which is not JSON")


def _load(name: str, spec: str) -> Callable[..., Any]:
    key = f"tools.{name}.python"
    try:
        if ":" in spec:
            function = EntryPoint(name, spec, GROUP).load()
        else:
            (entry,) = entry_points(group=GROUP, name=spec)
            function = entry.load()
    except ValueError:
        raise ConfigError(f"`{key}`: no installed package offers {spec!r} in the group {GROUP}") from None
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"`{key}`: {spec!r} cannot be imported ({error}): install it, or set PYTHONPATH") from error
    if not callable(function):
        raise ConfigError(f"`{key}`: {spec!r} is not a function")
    return function  # type: ignore[no-any-return]
