"""What would come of a sentence, without broker and store: nothing is called, and nothing is remembered."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from lineside.edge.calls.audited import CallAudit
from lineside.edge.calls.guard import conditions_of
from lineside.edge.calls.policy import Policy
from lineside.edge.calls.states import States
from lineside.edge.commands.phrases.phrasing import phrases_of
from lineside.edge.config import Config
from lineside.edge.counters import Counters
from lineside.edge.errors import RequestError
from lineside.edge.safety_config import SafetyConfig
from lineside.edge.steady import unix_time
from lineside.edge.wire.messages import CallReport, Reply
from lineside.edge.wire.store import StoredCommand
from lineside.edge.wire.topics import Topics
from lineside.runtime.chat import ToolCall
from lineside.runtime.commands.refers import refers
from lineside.runtime.errors import EngineError

if TYPE_CHECKING:
    from lineside.edge.calls.calls import Calls
    from lineside.edge.commands.conversation import Conversation
    from lineside.edge.models import NoModel
    from lineside.runtime.engine.engine import Engine


ANSWERS = "it answers from what devices said, and does nothing"


@dataclass(frozen=True)
class Told:
    """What a sentence would do, by whom, and why."""

    text: str
    by: str
    """`phrase`, `conversation` or `model`; empty where nothing was asked, because the model is left out."""
    calls: Sequence[CallReport] = ()
    code: str = ""
    why: str = ""
    ms: float = 0.0

    @property
    def carried_out(self) -> dict[str, Mapping[str, Any]]:
        """The calls that would go out, by tool."""
        return {call.name: call.arguments for call in self.calls if call.outcome != "refused"}

    @property
    def done(self) -> dict[str, Mapping[str, Any]]:
        """Those of them that do something."""
        answers = {call.name for call in self.calls if call.detail == ANSWERS}
        return {name: arguments for name, arguments in self.carried_out.items() if name not in answers}


@dataclass
class _Policed:
    """In the place of what carries calls out: asks the policy, and leaves it at that. No device has said anything."""

    policy: Policy
    states: States
    safety: SafetyConfig
    audit: CallAudit = field(default_factory=lambda: CallAudit(None, {}))

    @property
    def rules(self) -> _Policed:
        return self

    def carry_out(self, call: ToolCall, **_options: object) -> CallReport:
        report = CallReport(id=call.id or "-", name=call.name, arguments=dict(call.arguments), outcome="dry_run")
        try:
            tool = self.policy.check(call)
        except RequestError as error:
            return report.model_copy(update={"outcome": "refused", "code": error.code, "detail": str(error)})
        if not tool.acts:
            return report.model_copy(update={"detail": ANSWERS})
        if tool.safety == "never":
            return report.model_copy(update={"outcome": "refused", "code": "never", "detail": 'safety = "never"'})
        said = [f"only if {each.text}" for each in conditions_of(call.name, tool, self.safety)]
        said += [f"a person would be asked, for {tool.confirm_s:g} s"] if tool.confirm_s else []
        return report.model_copy(update={"detail": "; ".join(said)})


class Rehearsal:
    """Says what a station would do. The model is loaded when the first sentence needs it.

    Args:
        open_model: loads it; None leaves it out.

    Raises:
        ConfigError: a phrase or a tool has a mistake.
    """

    def __init__(self, config: Config, open_model: Callable[[], Engine | NoModel] | None) -> None:
        self._config, self._open_model = config, open_model
        policy, states = Policy(config.tools, config.station.timezone), States(config.tools, Counters())
        self._calls = _Policed(policy, states, config.safety)
        self._phrases = phrases_of(config)
        self._topic = Topics(config.base_topic).response("ask")
        self._conversation: Conversation | None = None

    def tell(self, text: str) -> Told:
        """Raises ConfigError, EngineError where the model cannot be had."""
        started = time.perf_counter()
        try:
            call = self._phrases.call(text, "auto")
        except RequestError as error:
            return Told(text, "phrase", code=error.code, why=str(error), ms=_ms(started))
        if call is not None:
            report = self._calls.carry_out(call).model_copy(update={"decided_by": "phrase"})
            return Told(text, "phrase", (report,), report.code, report.detail, _ms(started))
        if refers(text) is not None:
            why = "it means the last call of its conversation, and there is none here"
            return Told(text, "conversation", code="no_conversation", why=why, ms=_ms(started))
        if self._open_model is None:
            return Told(text, "", why="no phrase: the model would be asked", ms=_ms(started))
        conversation = self._opened(self._open_model)
        started = time.perf_counter()
        try:
            reply = conversation.answer(_command(text, self._topic), lambda: None)
        except (RequestError, EngineError) as error:
            return Told(text, "model", code=error.code, why=str(error), ms=_ms(started))
        return _told(text, reply, _ms(started))

    def _opened(self, open_model: Callable[[], Engine | NoModel]) -> Conversation:
        if self._conversation is None:
            from lineside.edge.commands.conversation import Conversation

            calls = cast("Calls", self._calls)
            self._conversation = Conversation(
                self._config, open_model(), calls, lambda _: None, lambda: False, self._phrases
            )
        return self._conversation


def _told(text: str, reply: Reply, ms: float) -> Told:
    why = reply.error.message if reply.error is not None else reply.text
    why = why or "; ".join(call.detail for call in reply.calls if call.detail)
    code = reply.error.code if reply.error is not None else next((call.code for call in reply.calls if call.code), "")
    return Told(text, "model", tuple(reply.calls), code, why, ms)


def _command(text: str, topic: str) -> StoredCommand:
    """From nobody in particular: what was said before is not remembered for it."""
    return StoredCommand("ask", json.dumps({"text": text}).encode(), topic, None, unix_time() + 600, uuid.uuid4().hex)


def _ms(started: float) -> float:
    return (time.perf_counter() - started) * 1e3
