"""A call runs a Python function: `python = "package.module:function"`, or the name of an entry point.

Installed packages offer functions in the entry-point group `lineside.tools`. The function gets the arguments by name;
what it returns, if it is JSON, goes into the reply and to the model.
"""

from __future__ import annotations

import inspect
import json
import logging
import re
import threading
import time
from collections.abc import Callable, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from lineside.edge.calls.bindings import Done
from lineside.edge.errors import ConfigError
from lineside.edge.tool_config import ToolConfig
from lineside.runtime.chat import ToolCall
from lineside.runtime.text.strict_json import load_json

log = logging.getLogger("lineside.bindings")
GROUP = "lineside.tools"


class PythonBinding:
    """Runs functions, one call of each at a time.

    Raises:
        ConfigError: a function cannot be found.
    """

    def __init__(self, tools: Mapping[str, ToolConfig]) -> None:
        self._functions = {name: load_function(name, tool.python) for name, tool in tools.items() if tool.python}
        self._busy: set[str] = set()
        self._lock = threading.Lock()
        self._closed = threading.Event()

    def invoke(self, call: ToolCall, tool: ToolConfig, waiting: Callable[[], None]) -> Done:
        """One call of a function at a time; one that takes too long is left running, and said to have expired."""
        with self._lock:
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
        deadline = time.monotonic() + tool.wait_s
        while not finished.wait(min(max(deadline - time.monotonic(), 0.0), 0.2)):
            if self._closed.is_set():
                return Done("issued", "the station stopped while it was running")
            if time.monotonic() >= deadline:
                return Done("expired", f"{call.name} is still running after {tool.wait_s:g} s")
        return done[0]

    def close(self) -> None:
        """End every wait; what runs is left to run out."""
        self._closed.set()


def _run(function: Callable[..., Any], call: ToolCall) -> Done:
    """Somebody else's code: whatever it raises, be it SystemExit, is what came of the call."""
    try:
        value = function(**call.arguments)
    except BaseException as error:  # noqa: BLE001
        log.warning("%s raised %s", call.name, type(error).__name__)
        return Done("failed", f"{type(error).__name__}: {_said(error)}")
    if inspect.isawaitable(value) or inspect.isgenerator(value) or inspect.isasyncgen(value):
        return Done("failed", f"it returned a {type(value).__name__}, which nobody runs: use a plain function")
    try:
        return Done("achieved", "", load_json(json.dumps(value)))
    except (TypeError, ValueError, RecursionError):
        return Done("achieved", f"it returned a {type(value).__name__}, which is not JSON")


def _said(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - its own __str__ may raise
        return "(it cannot say why)"


def load_function(name: str, spec: str) -> Callable[..., Any]:
    """Raises ConfigError, which says what was not found."""
    key = f"tools.{name}.python"
    if not re.fullmatch(r"[\w.-]+(:[\w.]+)?", spec):
        raise ConfigError(f"`{key}`: {spec!r} is neither like package.module:function nor the name of an entry point")
    try:
        if ":" in spec:
            function = EntryPoint(name, spec, GROUP).load()
        else:
            (entry,) = entry_points(group=GROUP, name=spec)
            function = entry.load()
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        if ":" not in spec and isinstance(error, ValueError):
            raise ConfigError(f"`{key}`: no installed package offers {spec!r} in the group {GROUP}") from None
        problem = f"{type(error).__name__}: {_said(error)}"
        raise ConfigError(f"`{key}`: {spec!r} cannot be imported ({problem}): install it, or set PYTHONPATH") from error
    if not callable(function):
        raise ConfigError(f"`{key}`: {spec!r} is not a function")
    if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function):
        raise ConfigError(f"`{key}`: {spec!r} is a coroutine or a generator: use a plain function")
    return function  # type: ignore[no-any-return]
