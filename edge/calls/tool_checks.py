"""What is wrong with the tools of a station file, as the daemon would find it when it starts: `lineside check` asks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from lineside.edge.broker_checks import Key, Problem
from lineside.edge.calls.bindings.python import load_function
from lineside.edge.calls.limits import check_limit
from lineside.edge.calls.policy import argument_validator
from lineside.edge.config import Config
from lineside.edge.errors import ConfigError
from lineside.edge.tool_config import ToolConfig


def tool_problems(config: Config) -> Iterator[Problem]:
    """Every mistake in schemas and limits, and functions that cannot be imported: they are imported."""
    for name, tool in config.tools.items():
        for key, look in _looks(name, tool):
            try:
                look()
            except ConfigError as error:
                yield key, str(error)


def _looks(name: str, tool: ToolConfig) -> Iterator[tuple[Key, Callable[[], object]]]:
    """Each key that can be wrong, and what raises ConfigError where it is."""
    above, known = ("tools", name), tool.parameters.get("properties", {})
    yield (*above, "parameters"), lambda: argument_validator(name, tool)
    for argument, limit in tool.limits.items() if isinstance(known, dict) else ():
        if argument in known:
            look = partial(check_limit, f"tools.{name}.limits.{argument}", limit, known[argument])
            yield (*above, "limits", argument), look
    if tool.python:
        yield (*above, "python"), lambda: load_function(name, tool.python)
