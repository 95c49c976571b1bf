"""One `ask` command: a phrase decides it, or the model; the calls are carried out, and the reply says what they did."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial

from lineside.edge.calls.audited import Asked
from lineside.edge.calls.bindings.query import answered
from lineside.edge.calls.calls import Calls, Rules, call_id
from lineside.edge.commands.body import parse_ask
from lineside.edge.commands.deciding import open_decider, reads_more
from lineside.edge.commands.eyes import Eyes
from lineside.edge.commands.memory import Memory, Requester, Turn, referred, requester_of
from lineside.edge.commands.outcome import undone
from lineside.edge.commands.phrases.phrasing import Phrases, phrases_of
from lineside.edge.commands.prompt import opening
from lineside.edge.commands.question import Questions
from lineside.edge.commands.steps import stepped, steps_said
from lineside.edge.config import Config
from lineside.edge.errors import RequestError, StoreError
from lineside.edge.models import NoModel, there, wire_model
from lineside.edge.steady import unix_time
from lineside.edge.wire.asking import AskCommand
from lineside.edge.wire.messages import CallReport, DecidedBy, Reply, WireError, WireModel
from lineside.edge.wire.store import StoredCommand
from lineside.edge.wire.topics import Topics
from lineside.runtime.assistant import Answer, tool_result
from lineside.runtime.chat import Tool, ToolCall
from lineside.runtime.commands.decide import Ask, Decider
from lineside.runtime.commands.doubt import Doubt
from lineside.runtime.commands.heard import hear
from lineside.runtime.commands.language import Language, recognise
from lineside.runtime.commands.refers import refers
from lineside.runtime.engine.engine import Engine
from lineside.runtime.engine.sampling import Sampling
from lineside.runtime.engine.scheduler import Priority, Request
from lineside.runtime.errors import EngineError
from lineside.runtime.grammar.tool_grammar import OneTool, ToolChoice

log = logging.getLogger("lineside.commands")
MAX_RESULT_CHARACTERS = 2000
"""Of what a tool gave back, for the model."""
STAGES = ("preprocess", "prefill", "decode")


@dataclass
class Turns:
    """What has come of a command so far."""

    reports: list[CallReport] = field(default_factory=list)
    timing_ms: dict[str, float] = field(default_factory=lambda: dict.fromkeys(STAGES, 0.0))
    text: str = ""
    error: WireError | None = None
    model: WireModel | None = None

    def add(self, answer: Answer) -> None:
        for stage in STAGES:
            self.timing_ms[stage] += getattr(answer.timings, f"{stage}_ms")
        self.text = answer.text
        if answer.finish_reason != "stop":
            message = f"the answer was ended after {answer.counts.generated} tokens"
            if answer.finish_reason == "unreadable":
                message = "the model wrote a call that cannot be read: it was not carried out"
            self.error = WireError(code=answer.finish_reason, message=message)

    def refuse(self, answer: Answer, doubt: Doubt, digest: str, note: Callable[[CallReport], None]) -> None:
        """None of the answer's calls is made; each is noted."""
        for call in answer.calls:
            report = CallReport(
                id=call_id(digest, len(self.reports)),
                name=call.name,
                arguments=dict(call.arguments),
                outcome="refused",
                code=doubt.code,
                detail=doubt.message,
            )
            self.reports.append(report)
            note(report)
        self.error = WireError(code=doubt.code, message=doubt.message)


class Conversation:
    """Answers `ask` commands.

    Args:
        begin: notes that a command is about to act.
        cancelled: true when the station stops.
        phrases: of the station; compiled where they are left out.
        rules: of the tools; those in use where left out.
        memory: of what was said before, by an earlier one of these.
        eyes: where the pictures of a question come from; None where there are none.

    Raises:
        ConfigError: the tools cannot be offered to the model, or a phrase has a mistake.
    """

    def __init__(
        self,
        config: Config,
        engine: Engine | NoModel,
        calls: Calls,
        begin: Callable[[StoredCommand], None],
        cancelled: Callable[[], bool],
        phrases: Phrases | None = None,
        rules: Rules | None = None,
        memory: Memory | None = None,
        eyes: Eyes | None = None,
    ) -> None:
        self._config, self._model, self._calls = config, engine, calls
        self._questions = Questions(config, engine, eyes, cancelled)
        self._rules = rules or calls.rules
        self._begin, self._cancelled = begin, cancelled
        self._shared_topic = Topics(config.base_topic).response("ask")
        self.memory = memory or Memory(config.commands.conversation_s)
        self._phrases = phrases if phrases is not None else phrases_of(config)
        self._tools: tuple[Tool, ...] = self._rules.policy.offered()
        self._decider: Decider | NoModel = (
            engine if isinstance(engine, NoModel) else open_decider(config, engine, self._rules.states.longest_text())
        )

    @property
    def _engine(self) -> Engine:
        """Raises RequestError where it could not be opened."""
        return there(self._model)

    def answer(self, command: StoredCommand, waiting: Callable[[], None]) -> Reply:
        """The reply; `waiting` is called when others may go on, since this one waits for a person or a tool.

        Raises:
            RequestError: the command is malformed or has expired, or a phrase that may not be carried out.
            EngineError, StoreError: before anything was called.
        """
        request = parse_ask(command.payload)
        if request.expires_at is not None and request.expires_at < datetime.now(request.expires_at.tzinfo):
            raise RequestError("expired", recognise(request.text).refusal("expired"))
        started = time.perf_counter()
        if request.is_question:
            return self._answer_question(command, request, waiting, started)
        requester = requester_of(command.response_topic, request.conversation, self._shared_topic)
        if command.shared:
            requester = None  # the next sentence may go to another member
        turns = self._take_turns(command, request, requester, _deadline(command, request), waiting)
        turns.timing_ms["total"] = (time.perf_counter() - started) * 1e3
        text = turns.text or answered(turns.reports, self._config.tools)
        self.memory.ended(requester, Turn(request.text, tuple(turns.reports), text))
        return Reply(
            command="ask",
            transaction=request.transaction,
            ok=turns.error is None,
            text=text,
            calls=turns.reports,
            model=turns.model,
            error=turns.error,
            timing_ms={stage: round(value, 2) for stage, value in turns.timing_ms.items()},
        )

    def _answer_question(
        self, command: StoredCommand, request: AskCommand, waiting: Callable[[], None], started: float
    ) -> Reply:
        if command.shared and request.cameras:
            raise RequestError("not_in_group", "a group has no cameras: send the question to the station itself")
        reply = self._questions.answer(request, _deadline(command, request), waiting)
        total_ms = round((time.perf_counter() - started) * 1e3, 2)
        return reply.model_copy(update={"timing_ms": {**reply.timing_ms, "total": total_ms}})

    def _take_turns(
        self,
        command: StoredCommand,
        request: AskCommand,
        requester: Requester | None,
        deadline: float,
        waiting: Callable[[], None],
    ) -> Turns:
        """Once a call was carried out nothing raises: the reply must say what was done."""
        turns = Turns()
        choice = self._choice(request)
        spoken = recognise(request.text)
        asked = _asked(command, request)
        carry_out = partial(self._carry_out, command, requester, deadline, waiting)
        if (known := self._without_model(request, requester)) is not None:
            call, decided_by = known
            report = carry_out(replace(call, id=call_id(command.digest, 0)), replace(asked, decided_by=decided_by))
            turns.reports.append(report.model_copy(update={"decided_by": decided_by}))
            log.info("%s was called by a %s: %s", call.name, decided_by, report.outcome)
            turns.error = undone(turns.reports, spoken)
            return turns
        decider = there(self._decider)
        messages = opening(
            self._engine,
            self._config.commands.system,
            request.text,
            decider.fits,
            states=self._rules.states.text(),
            turns=self.memory.turns(requester),
            told=_for_model,
        )
        results: list[str] = []
        if reads_more(self._engine):
            results += steps_said(hear(request.text), self._config.tools, self._rules.states)
        for _ in range(self._config.commands.rounds or self._engine.bundle.manifest.rounds):
            try:
                heard = hear(request.text, results)
                decision = decider.decide(
                    messages, heard, "auto" if turns.reports else choice, self._how(request, deadline)
                )
            except EngineError as error:
                if not turns.reports:
                    raise
                turns.error = WireError(code=error.code, message=str(error))
                break
            answer = decision.answer
            turns.add(answer)
            turns.model = wire_model(self._engine.bundle)
            asked = replace(asked, model=turns.model.sha256)
            if not answer.calls:
                turns.error = turns.error or self._nothing_called(request, turns, spoken)
                break
            if decision.doubt is not None:
                turns.refuse(answer, decision.doubt, command.digest, partial(self._rules.audit.refused, asked=asked))
                return turns
            if not turns.reports and time.monotonic() >= deadline:
                raise RequestError("deadline", "the command expired while the model answered: nothing was called")
            messages.append(answer.message())
            for call in answer.calls:
                wire = replace(call, id=call_id(command.digest, len(turns.reports)))
                try:
                    report = carry_out(wire, asked)
                except StoreError as error:
                    if not turns.reports:
                        raise
                    turns.error = WireError(code="storage", message=f"{call.name} was not called: {error}")
                    return turns
                turns.reports.append(report)
                results.append(_for_model(report))
                messages.append(tool_result(call, results[-1]))
        turns.error = turns.error or undone(turns.reports, spoken)
        return turns

    def _nothing_called(self, request: AskCommand, turns: Turns, spoken: Language) -> WireError | None:
        """An answer in words is what was asked for only of a model that was taught to converse."""
        taught = self._engine.bundle.manifest.taught.conversation
        if turns.reports or not self._tools or taught is not False or request.tool_choice == "none":
            return None
        return WireError(code="nothing_fits", message=spoken.refusal("nothing_fits"))

    def _without_model(self, request: AskCommand, requester: Requester | None) -> tuple[ToolCall, DecidedBy] | None:
        """The call that a phrase is, or that "stop that" means; None where the model has to decide.

        Raises:
            RequestError: the sentence is one of them, and may not be carried out.
        """
        if (phrase := self._phrases.call(request.text, request.tool_choice)) is not None:
            return phrase, "phrase"
        if request.tool_choice == "auto" and (wanted := refers(request.text)) is not None:
            last, tools = self.memory.last_call(requester), self._config.tools
            if wanted == "more" or wanted == "less":
                return stepped(wanted, last, tools, self._rules.states), "conversation"
            return referred(wanted, last, tools), "conversation"
        return None

    def _carry_out(
        self,
        command: StoredCommand,
        requester: Requester | None,
        deadline: float,
        waiting: Callable[[], None],
        call: ToolCall,
        asked: Asked,
    ) -> CallReport:
        """Raises StoreError before anything was done."""
        tool = self._config.tools.get(call.name)
        if command.shared and tool is not None and tool.acts:
            report = _not_in_group(call)
            self._rules.audit.refused(report, asked)
            return report

        def begin() -> None:
            self._begin(command)
            if tool is not None and tool.acts:
                self.memory.called(requester, call)

        return self._calls.carry_out(
            call, deadline=deadline, begin=begin, waiting=waiting, rules=self._rules, asked=asked
        )

    def _choice(self, request: AskCommand) -> ToolChoice:
        """Raises RequestError where there is no such tool."""
        names = [tool.name for tool in self._tools]
        choices: dict[str, ToolChoice] = {"auto": "auto", "none": "none"}
        if names:
            choices |= {"required": "required", **{name: OneTool(name) for name in names}}
        if request.tool_choice not in choices:
            raise RequestError("unknown_tool", f"tool_choice {request.tool_choice!r} is none of {', '.join(choices)}")
        return choices[request.tool_choice]

    def _how(self, request: AskCommand, deadline: float) -> Ask:
        model = self._config.model
        return Ask(
            request.max_tokens or model.max_tokens,
            Sampling(model.temperature, model.seed),
            Request(Priority.COMMAND, deadline, self._cancelled),
            self._config.commands.call_above,
        )


def _asked(command: StoredCommand, request: AskCommand) -> Asked:
    return Asked(command.digest[:32], command.response_topic, request.transaction, request.conversation)


def _not_in_group(call: ToolCall) -> CallReport:
    """Which member a command goes to is chance, and each knows its own calls alone."""
    detail = f"{call.name} acts, and a group only answers questions: send the command to the station that shall do it"
    arguments = dict(call.arguments)
    return CallReport(
        id=call.id, name=call.name, arguments=arguments, outcome="refused", code="not_in_group", detail=detail
    )


def _for_model(report: CallReport) -> str:
    """What came of a call, as the model is told."""
    said = report.model_dump(include={"outcome", "code", "detail", "result"}, exclude_defaults=True)
    text = json.dumps(said, ensure_ascii=False)
    if len(text) > MAX_RESULT_CHARACTERS:
        said |= {"result": f"{len(text)} characters, left out", "detail": report.detail[:200]}
        text = json.dumps(said, ensure_ascii=False)
    return text


def _deadline(command: StoredCommand, request: AskCommand) -> float:
    """On `time.monotonic()`: when the answer is of no use any more."""
    left_s = command.expires - unix_time()
    if request.expires_at is not None:
        left_s = min(left_s, request.expires_at.timestamp() - time.time())
    return time.monotonic() + left_s
