"""A call sets a signal of a vehicle, in the databroker of `[kuksa]`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from lineside.edge.calls.bindings import Done
from lineside.edge.templates import FAILURES
from lineside.edge.tool_config import ToolConfig
from lineside.edge.tool_templates import signal_template
from lineside.runtime.chat import ToolCall

if TYPE_CHECKING:
    from lineside.edge.calls.kuksa import KuksaLink

LIMIT_S = 5.0
"""How long the databroker has to answer where the tool waits for nothing."""


class KuksaBinding:
    """Sets signals.

    Raises:
        ConfigError: the template of a value makes no sense.
    """

    def __init__(self, tools: Mapping[str, ToolConfig], link: KuksaLink) -> None:
        self._link = link
        self._render = {name: signal_template(name, tool) for name, tool in tools.items() if tool.kuksa is not None}

    def invoke(self, call: ToolCall, tool: ToolConfig, waiting: Callable[[], None]) -> Done:
        """`issued` once the databroker has handed it on; what the signal then is, its state says."""
        if tool.kuksa is None:
            raise RuntimeError(f"{call.name} sets no signal")
        try:
            value = self._render[call.name](call.arguments)
        except FAILURES as error:
            return Done("failed", f"the value of {tool.kuksa.signal} cannot be made: {error}")
        waiting()
        return self._link.actuate(tool.kuksa.signal, value, tool.wait_s or LIMIT_S)

    def close(self) -> None:
        """The databroker answers in a few seconds, or its time is over."""
