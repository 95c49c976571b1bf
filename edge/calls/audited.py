"""What the audit log says of calls: a line before each act, one of what came of it, one for each refusal and each
answer of a person.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from lineside.edge.audit.log import AuditLog
from lineside.edge.audit.masking import has_secrets, masked
from lineside.edge.errors import AuditError, RequestError
from lineside.edge.tool_config import ToolConfig
from lineside.edge.wire.messages import CallReport, Confirmation, DecidedBy
from lineside.runtime.chat import ToolCall

NOT_SHOWN = "left out: the tool has arguments that are writeOnly"


@dataclass(frozen=True)
class Asked:
    """Who asked for a call, as far as MQTT tells, and what decided on it.

    Attributes:
        command: the id of the command, which its reply has.
        topic: that the reply goes to; MQTT does not say who sent a command.
        model: the hash of the model that chose the call; empty where none did.
    """

    command: str = ""
    topic: str = ""
    transaction: str = ""
    conversation: str = ""
    decided_by: DecidedBy = "model"
    model: str = ""

    def who(self) -> dict[str, str]:
        said = {
            "command": self.command,
            "topic": self.topic,
            "transaction": self.transaction,
            "conversation": self.conversation,
        }
        return {key: value for key, value in said.items() if value}

    def why(self) -> dict[str, str]:
        return {"decided_by": self.decided_by} | ({"model": self.model} if self.model else {})


class CallAudit:
    """Writes to `log`, or nothing where there is none.

    Args:
        tools: of the station file as it was read.
    """

    def __init__(self, log: AuditLog | None, tools: Mapping[str, ToolConfig]) -> None:
        self._log, self._tools = log, tools

    def begun(self, call: ToolCall, tool: ToolConfig, asked: Asked, confirmed_by: str | None) -> None:
        """The call is let through, and nothing was done yet.

        Raises:
            RequestError: it cannot be written down, and would act.
        """
        allowed: dict[str, Any] = {**asked.why(), "policy": passed_rules(tool)}
        if tool.unchecked and asked.decided_by == "model":
            allowed["unchecked"] = list(tool.unchecked)
        if confirmed_by is not None:
            allowed["confirmed_by"] = confirmed_by
        body = self._of_call("call", call) | {"asked_by": asked.who(), "allowed_by": allowed}
        try:
            self._append(body | ({"dry_run": True} if tool.dry_run else {}))
        except AuditError as error:
            if tool.acts and not tool.dry_run:
                raise RequestError("audit", f"{call.name} was not called: {error}: make room there") from error

    def refused(self, report: CallReport, asked: Asked) -> None:
        """By the policy, by a person, or since a doubt or a damaged disk stood against it."""
        call = ToolCall(report.id, report.name, report.arguments)
        because = {**asked.why(), "code": report.code, "detail": self._shown(report.name, report.detail)}
        self._try(self._of_call("refused", call) | {"asked_by": asked.who(), "refused_because": because})

    def repeated(self, report: CallReport, asked: Asked) -> None:
        """Its id was there already: what came of it then was said once more."""
        body = {"outcome": report.outcome, "code": report.code, "asked_by": asked.who()}
        self._try({"kind": "repeated", "call": report.id, "tool": report.name} | body)

    def ended(self, report: CallReport) -> None:
        body = {"outcome": report.outcome, "code": report.code, "detail": self._shown(report.name, report.detail)}
        self._try({"kind": "outcome", "call": report.id, "tool": report.name} | body)

    def asks(self, call: ToolCall, expires_at: datetime) -> None:
        """A person is asked."""
        until = expires_at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        self._try(self._of_call("question", call) | {"expires_at": until})

    def answered(self, call: ToolCall, answer: Confirmation | None, way: str) -> None:
        """By a person, on a topic or another `way`; None where nobody did."""
        said: dict[str, Any] = {"confirmed": None if answer is None else answer.confirmed}
        if answer is not None:
            said |= {"by": answer.by, "way": way}
        self._try({"kind": "answer", "call": call.id, "tool": call.name} | said)

    def _of_call(self, kind: str, call: ToolCall) -> dict[str, Any]:
        tool = self._tools.get(call.name)
        arguments = dict(call.arguments) if tool is None else masked(tool.parameters, call.arguments)
        return {"kind": kind, "call": call.id, "tool": call.name, "arguments": arguments}

    def _shown(self, name: str, detail: str) -> str:
        """A sentence may repeat what an argument said."""
        tool = self._tools.get(name)
        return NOT_SHOWN if detail and tool is not None and has_secrets(tool.parameters) else detail

    def _append(self, body: Mapping[str, Any]) -> None:
        if self._log is not None:
            self._log.append(body)

    def _try(self, body: Mapping[str, Any]) -> None:
        """What acts on nothing goes on where it cannot be written: the log has said so, and so has `degraded`."""
        try:
            self._append(body)
        except AuditError:
            return


def passed_rules(tool: ToolConfig) -> list[str]:
    """The keys of the station file that a call of the tool has passed."""
    rules = ["allowed", "parameters"]
    for key in ("limits", "quiet_hours", "cool_down_s", "rate_limit", "confirm_s", "only_if"):
        if getattr(tool, key):
            rules.append(key)
    if tool.safety != "free":
        rules.append("safety")
    return rules


def may_act(tools: Mapping[str, ToolConfig]) -> bool:
    """Whether any call of them may change anything."""
    return any(tool.allowed and tool.acts and not tool.dry_run for tool in tools.values())
