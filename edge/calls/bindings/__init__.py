"""What a call does. Each kind of binding returns what was really done, as far as it can know.

A new kind is a module here with a class that has `invoke`, and a line in `edge.calls.calls`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from lineside.edge.tool_config import ToolConfig
from lineside.edge.wire.messages import Outcome
from lineside.runtime.chat import ToolCall


@dataclass(frozen=True)
class Done:
    """What came of a call; `result` is JSON that the tool gave back, `code` says to programs why it failed."""

    outcome: Outcome
    detail: str = ""
    result: Any = None
    code: str = ""


class Binding(Protocol):
    def invoke(self, call: ToolCall, tool: ToolConfig, waiting: Callable[[], None]) -> Done:
        """Do it, and wait for at most `tool.wait_s`; `waiting` is called when all that is left to do is to wait.

        Raises nothing for a call that fails: the outcome says so.
        """

    def close(self) -> None:
        """End every wait."""
