"""Which calls are let through: declared in the station file, decided outside the model.

Nothing that a command or a picture says has a way in here: the decision is made from the station file, the call's name
and arguments, the clock, what the devices said of themselves, and the calls that were let through before.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping

import jsonschema
from jsonschema.validators import Draft202012Validator

from lineside.edge.calls.guard import Guard
from lineside.edge.calls.limits import check_limit
from lineside.edge.errors import ConfigError, RequestError
from lineside.edge.quiet_hours import check_zone, parse_quiet_hours, time_of_day
from lineside.edge.tool_config import ToolConfig
from lineside.runtime.chat import Tool, ToolCall

MAX_MESSAGE_CHARACTERS = 300
"""A schema's complaint repeats an enum, however long it is."""


class Policy:
    """The rules of one station, and what they need to remember.

    Args:
        zone: for quiet hours; the machine's own where it is empty.
        clock: a Unix time, for the time of day.
        stopwatch: seconds that cannot be set back, for spans.
        guard: looks at the states of devices; without it no state is asked for.

    Raises:
        ConfigError: a tool's parameters, limits or quiet hours make no sense.
    """

    def __init__(
        self,
        tools: Mapping[str, ToolConfig],
        zone: str = "",
        clock: Callable[[], float] = time.time,
        stopwatch: Callable[[], float] = time.monotonic,
        guard: Guard | None = None,
    ) -> None:
        check_zone(zone)
        self._guard = guard
        self._tools, self._zone, self._clock, self._stopwatch = dict(tools), zone, clock, stopwatch
        self._validators = {name: argument_validator(name, tool) for name, tool in tools.items()}
        self._limits = {name: _limits(name, tool) for name, tool in tools.items()}
        self._quiet = {
            name: [parse_quiet_hours(span, f"tools.{name}.quiet_hours") for span in tool.quiet_hours]
            for name, tool in tools.items()
        }
        self._passed: dict[str, deque[float]] = {name: deque(maxlen=_memory(tool)) for name, tool in tools.items()}
        self._lock = threading.Lock()

    def offered(self) -> tuple[Tool, ...]:
        """The tools that the model is shown."""
        return tuple(Tool(name, tool.description, tool.parameters) for name, tool in self._tools.items())

    def remember(self, name: str, seconds_ago: float) -> None:
        """A call of before the last start was let through so long ago."""
        if name in self._passed:
            self._passed[name].append(self._stopwatch() - max(seconds_ago, 0.0))

    def check(self, call: ToolCall) -> ToolConfig:
        """The tool's settings where the call may go through as things stand; it is not counted yet.

        Raises:
            RequestError: it may not; `code` is for programs.
        """
        tool = self._tools.get(call.name)
        if tool is None:
            raise RequestError("unknown_tool", f"{call.name} is not declared in the station file")
        if not tool.allowed:
            raise RequestError("not_allowed", f"{call.name} is declared with allowed = false")
        _satisfy(self._validators[call.name], call, "bad_arguments", "")
        _satisfy(self._limits[call.name], call, "over_limit", "the station's limits: ")
        now = time_of_day(self._clock(), self._zone)
        for span in self._quiet[call.name]:
            if span.contains(now):
                raise RequestError("quiet_hours", f"{call.name} is not called from {span}")
        with self._lock:
            self._check_pace(call.name, tool)
        if self._guard is not None:
            self._guard.check(call.name)
        return tool

    def admit(self, call: ToolCall) -> None:
        """Check once more, and count the call: from here on it is let through.

        Raises:
            RequestError: as `check`.
        """
        tool = self.check(call)
        with self._lock:
            self._check_pace(call.name, tool)
            if self._guard is not None:
                self._guard.check(call.name)
            self._passed[call.name].append(self._stopwatch())

    def take_back(self, name: str) -> None:
        """The call that was admitted last did not go through after all."""
        with self._lock:
            self._passed[name].pop()

    def _check_pace(self, name: str, tool: ToolConfig) -> None:
        passed, now = self._passed[name], self._stopwatch()
        if tool.cool_down_s and passed and (left := passed[-1] + tool.cool_down_s - now) > 0:
            raise RequestError("cool_down", f"{name} was called just now: again in {left:.1f} s")
        limit = tool.rate_limit
        if limit is not None and len(passed) >= limit.calls:
            left = passed[-limit.calls] + limit.per_s - now
            if left > 0:
                raise RequestError(
                    "rate_limit", f"{name}: {limit.calls} calls in {limit.per_s:g} s are reached: again in {left:.1f} s"
                )


def _memory(tool: ToolConfig) -> int:
    return max(tool.rate_limit.calls if tool.rate_limit else 1, 1)


def _satisfy(validator: Draft202012Validator, call: ToolCall, code: str, by: str) -> None:
    error = jsonschema.exceptions.best_match(validator.iter_errors(dict(call.arguments)))
    if error is not None:
        raise RequestError(code, f"{call.name}: {by}{error.json_path}: {error.message[:MAX_MESSAGE_CHARACTERS]}")


def argument_validator(name: str, tool: ToolConfig) -> Draft202012Validator:
    """Raises ConfigError where the parameters are no JSON Schema of an object."""
    try:
        Draft202012Validator.check_schema(tool.parameters)
    except jsonschema.exceptions.SchemaError as error:
        raise ConfigError(f"`tools.{name}.parameters` is not a JSON Schema: {error.message}") from error
    if tool.parameters.get("type") != "object":
        raise ConfigError(f'`tools.{name}.parameters` must have type = "object"')
    return Draft202012Validator(tool.parameters)


def _limits(name: str, tool: ToolConfig) -> Draft202012Validator:
    known = tool.parameters.get("properties", {})
    for argument, schema in tool.limits.items():
        key = f"tools.{name}.limits.{argument}"
        if argument not in known:
            raise ConfigError(f"`{key}`: {name} has no argument {argument}; it has {', '.join(known) or 'none'}")
        check_limit(key, schema, known[argument])
    return Draft202012Validator({"properties": tool.limits})
