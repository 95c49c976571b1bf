"""Which calls may be made in the state that the devices say they are in: a state that is not known, or was heard too
long ago, counts as unsafe.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lineside.edge.calls.states import States
from lineside.edge.calls.watch import shown
from lineside.edge.conditions import Condition, Incomparable, parse_condition
from lineside.edge.errors import ConfigError, RequestError
from lineside.edge.safety_config import SafetyConfig
from lineside.edge.tool_config import ToolConfig

NEVER, FALSE, UNKNOWN, STALE = "never", "not_safe", "not_safe_unknown", "not_safe_stale"
BY_STATE = (NEVER, FALSE, UNKNOWN, STALE)
"""Codes of refusals; what is said of one stands in `runtime.commands.languages`."""


class Guard:
    """Looks at `only_if` and `safety` of each tool.

    Raises:
        ConfigError: a condition cannot be read.
    """

    def __init__(self, tools: Mapping[str, ToolConfig], safety: SafetyConfig, states: States) -> None:
        self._tools, self._states, self._max_age_s = dict(tools), states, safety.max_age_s
        self._conditions = {name: conditions_of(name, tool, safety) for name, tool in tools.items()}

    def check(self, name: str) -> None:
        """Raises RequestError where a call may not be made now; its message is `needed: what is`."""
        if self._tools[name].safety == "never":
            raise RequestError(NEVER, 'safety = "never"')
        for condition in self._conditions[name]:
            self._check(condition)

    def _check(self, condition: Condition) -> None:
        values: dict[str, Any] = {}
        for name in condition.names:
            known = self._states.known(name, {})
            if known is None:
                raise RequestError(UNKNOWN, f"{condition.text}: {name}")
            if known.retained:
                raise RequestError(STALE, f"{condition.text}: {name}, kept by the broker")
            age_s = self._states.age_s(known)
            if not 0 <= age_s <= self._max_age_s:
                raise RequestError(STALE, f"{condition.text}: {name}, {age_s:.1f} s > {self._max_age_s:g} s")
            values[name] = known.value
        told = ", ".join(f"{name} = {shown(value)}" for name, value in values.items())
        try:
            if condition.holds(values):
                return
        except Incomparable as error:
            raise RequestError(UNKNOWN, f"{condition.text}: {told} ({error})") from error
        raise RequestError(FALSE, f"{condition.text}: {told}")


def conditions_of(name: str, tool: ToolConfig, safety: SafetyConfig) -> list[Condition]:
    """What must be true for a call; raises ConfigError."""
    texts = {f"tools.{name}.only_if": tool.only_if} if tool.only_if else {}
    if tool.safety == "parked":
        texts["safety.parked"] = safety.parked
    found = []
    for key, text in texts.items():
        try:
            found.append(parse_condition(text))
        except ValueError as error:
            raise ConfigError(f"`{key}`: {error}") from error
    return found
