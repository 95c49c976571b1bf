"""An answer that ended otherwise than it should is a reply with an error, and nothing is called."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from lineside.edge.audit.log import AuditLog
from lineside.edge.calls.audited import CallAudit
from lineside.edge.calls.calls import Calls
from lineside.edge.calls.policy import Policy
from lineside.edge.calls.states import States
from lineside.edge.commands.conversation import Conversation
from lineside.edge.config import CommandConfig, Config
from lineside.edge.counters import Counters
from lineside.edge.degraded import Degraded
from lineside.edge.tool_config import ToolConfig
from lineside.edge.wire.messages import CallReport, Reply
from lineside.edge.wire.store import StoredCommand
from lineside.runtime.chat import ToolCall
from lineside.runtime.engine.engine import Engine

STOP = ToolConfig(
    description="Stop the line.", parameters={"type": "object", "properties": {}}, unchecked=("confidence",)
)
"""Unchecked: the random model is sure of nothing."""


class Noted:
    """Notes the calls that are carried out, and does nothing."""

    def __init__(self) -> None:
        self.policy = Policy({"stop": STOP})
        self.states = States({}, Counters())
        self.audit = CallAudit(None, {})
        self.rules = self
        self.called: list[str] = []

    def carry_out(self, call: ToolCall, **_options: object) -> CallReport:
        self.called.append(call.name)
        return CallReport(id=call.id, name=call.name, arguments={}, outcome="achieved")


Say = Callable[[str], tuple[Reply, list[str]]]


@pytest.fixture
def say(random_engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Say:
    """The reply to a command, and what was called, where the model can write nothing but this (a Lark rule)."""

    def answer(lark: str) -> tuple[Reply, list[str]]:
        calls = Noted()
        config = Config(commands=CommandConfig(rounds=1), tools={"stop": STOP})
        conversation = Conversation(config, random_engine, cast(Calls, calls), lambda _: None, lambda: False)
        grammar: Any = random_engine.grammars._constraint(json.dumps({"grammars": [{"lark_grammar": lark}]}))
        monkeypatch.setattr(random_engine.grammars, "tools", lambda *_: grammar.fresh())
        command = StoredCommand("ask", b"Stop the line.", "", None, time.time() + 60, "digest")
        reply = conversation.answer(command, lambda: None)
        monkeypatch.undo()
        return reply, calls.called

    return answer


def test_a_call_that_can_be_read_is_carried_out(say: Say) -> None:
    reply, called = say('start: <[9]> "stop" <[32]> "{}"')
    assert (reply.ok, called) == (True, ["stop"])


@pytest.mark.parametrize("second", ['"stop" <[32]> "{"', '"stop" <[32]> "[]"', '"stop"'])
def test_one_that_cannot_be_read_is_an_error_and_nothing_is_called(say: Say, second: str) -> None:
    """Nor is the call before it: the model may have meant both or none."""
    reply, called = say(f'start: "I stop it." <[9]> "stop" <[32]> "{{}}" <[9]> {second}')
    assert called == []
    assert not reply.ok
    assert reply.error is not None
    assert reply.error.code == "unreadable"
    assert reply.error.message == "the model wrote a call that cannot be read: it was not carried out"
    assert (reply.text, reply.calls) == ("I stop it.", [])


def test_what_a_doubt_refuses_is_written_down(
    random_engine: Engine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Stop is checked here, and the random model is sure of nothing."""
    checked = dataclasses.replace(STOP, unchecked=())
    calls, config = Noted(), Config(commands=CommandConfig(rounds=1), tools={"stop": checked})
    log = AuditLog(tmp_path / "audit", config.audit, {}, Counters(), Degraded())
    calls.audit = CallAudit(log, config.tools)
    conversation = Conversation(config, random_engine, cast(Calls, calls), lambda _: None, lambda: False)
    grammar: Any = random_engine.grammars._constraint(
        json.dumps({"grammars": [{"lark_grammar": 'start: <[9]> "stop" <[32]> "{}"'}]})
    )
    monkeypatch.setattr(random_engine.grammars, "tools", lambda *_: grammar.fresh())
    command = StoredCommand("ask", b'{"text": "Hello.", "transaction": "7"}', "clients/1", None, time.time() + 60, "d")
    (report,) = conversation.answer(command, lambda: None).calls
    log.close()
    assert (report.outcome, calls.called) == ("refused", [])
    (path,) = (tmp_path / "audit").glob("*.jsonl")
    line = json.loads(path.read_bytes().splitlines()[-1])
    assert (line["kind"], line["tool"], line["call"]) == ("refused", "stop", report.id)
    assert line["asked_by"] == {"command": "d", "topic": "clients/1", "transaction": "7"}
    because = line["refused_because"]
    assert (because["code"], because["detail"], because["decided_by"]) == (report.code, report.detail, "model")
    assert because["model"] == random_engine.bundle.sha256
