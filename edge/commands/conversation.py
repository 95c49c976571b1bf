"""One `ask` command: a phrase decides it, or the model; the calls are carried out, and the reply says what they did."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial

from lineside.edge.calls.bindings.query import answered
from lineside.edge.calls.calls import Calls, call_id
from lineside.edge.commands.body import parse_ask
from lineside.edge.commands.phrases.phrasing import Phrases, phrases_of
from lineside.edge.config import Config
from lineside.edge.errors import ConfigError, RequestError, StoreError
from lineside.edge.models import NoModel, the_engine, wire_model
from lineside.edge.steady import unix_time
from lineside.edge.wire.messages import AskCommand, CallReport, Reply, WireError, WireModel
from lineside.edge.wire.store import StoredCommand
from lineside.runtime.assistant import Answer, ask, tool_result
from lineside.runtime.chat import Message, Tool
from lineside.runtime.engine.engine import Engine
from lineside.runtime.engine.sampling import Sampling
from lineside.runtime.engine.scheduler import Priority, Request
from lineside.runtime.errors import EngineError, GrammarError
from lineside.runtime.grammar.tool_grammar import OneTool, ToolChoice

log = logging.getLogger("lineside.commands")
MAX_RESULT_CHARACTERS = 2000
"""Of what a tool gave back, for the model."""
MIN_ROOM = 128
"""Tokens for a command and its answer, at the least."""
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


class Conversation:
    """Answers `ask` commands.

    Args:
        begin: notes that a command is about to act.
        cancelled: true when the station stops.

    Raises:
        ConfigError: the tools cannot be expressed by a grammar, or a phrase has a mistake.
    """

    def __init__(
        self,
        config: Config,
        engine: Engine | NoModel,
        calls: Calls,
        begin: Callable[[StoredCommand], None],
        cancelled: Callable[[], bool],
    ) -> None:
        self._config, self._model, self._calls = config, engine, calls
        self._begin, self._cancelled = begin, cancelled
        self._phrases: Phrases = phrases_of(config)
        self._tools: tuple[Tool, ...] = calls.policy.offered()
        if self._tools and not isinstance(engine, NoModel):
            try:
                self._check_room()
                engine.grammars.tools(self._tools)
            except GrammarError as error:
                raise ConfigError(f"the tools cannot be offered to the model: {error}") from error

    @property
    def _engine(self) -> Engine:
        """Raises RequestError where it could not be opened."""
        return the_engine(self._model)

    def _check_room(self) -> None:
        """Raises ConfigError where the tools leave no room for a command and its answer."""
        system = Message("system", (self._config.commands.system,))
        prompt = self._engine.tokenizer.encode_chat([system, Message("user", ("stop",))], self._tools)
        used, capacity = len(prompt.ids), self._engine.capacity
        if used + MIN_ROOM > capacity:
            raise ConfigError(
                f"the tools take {used} tokens of each prompt, and `model.capacity` is {capacity}: shorten the longest "
                "parameters, or offer fewer tools"
            )

    def answer(self, command: StoredCommand, waiting: Callable[[], None]) -> Reply:
        """The reply; `waiting` is called when others may go on, since this one waits for a person or a tool.

        Raises:
            RequestError: the command is malformed or has expired, or a phrase that may not be carried out.
            EngineError, StoreError: before anything was called.
        """
        request = parse_ask(command.payload)
        if request.expires_at is not None and request.expires_at < datetime.now(request.expires_at.tzinfo):
            raise RequestError("expired", "expires_at has passed")
        started = time.perf_counter()
        turns = self._take_turns(command, request, _deadline(command, request), waiting)
        turns.timing_ms["total"] = (time.perf_counter() - started) * 1e3
        return Reply(
            command="ask",
            transaction=request.transaction,
            ok=turns.error is None,
            text=turns.text or answered(turns.reports, self._config.tools),
            calls=turns.reports,
            model=turns.model,
            error=turns.error,
            timing_ms={stage: round(value, 2) for stage, value in turns.timing_ms.items()},
        )

    def _take_turns(
        self, command: StoredCommand, request: AskCommand, deadline: float, waiting: Callable[[], None]
    ) -> Turns:
        """Once a call was carried out nothing raises: the reply must say what was done."""
        turns = Turns()
        choice = self._choice(request)
        begin = partial(self._begin, command)
        if (phrase := self._phrases.call(request.text, request.tool_choice)) is not None:
            call = replace(phrase, id=call_id(command.digest, 0))
            report = self._calls.carry_out(call, deadline=deadline, begin=begin, waiting=waiting)
            turns.reports.append(report.model_copy(update={"decided_by": "phrase"}))
            log.info("%s was called by a phrase: %s", call.name, report.outcome)
            return turns
        messages = [Message("system", (self._config.commands.system,)), Message("user", (request.text,))]
        for _ in range(self._config.commands.rounds or self._engine.bundle.manifest.rounds):
            try:
                answer = self._ask(messages, request, "auto" if turns.reports else choice, deadline)
            except EngineError as error:
                if not turns.reports:
                    raise
                turns.error = WireError(code=error.code, message=str(error))
                break
            turns.add(answer)
            turns.model = wire_model(self._engine.bundle)
            if not answer.calls:
                break
            if not turns.reports and time.monotonic() >= deadline:
                raise RequestError("deadline", "the command expired while the model answered: nothing was called")
            messages.append(answer.message())
            for call in answer.calls:
                wire = replace(call, id=call_id(command.digest, len(turns.reports)))
                try:
                    report = self._calls.carry_out(wire, deadline=deadline, begin=begin, waiting=waiting)
                except StoreError as error:
                    if not turns.reports:
                        raise
                    turns.error = WireError(code="storage", message=f"{call.name} was not called: {error}")
                    return turns
                turns.reports.append(report)
                messages.append(tool_result(call, _for_model(report)))
        return turns

    def _choice(self, request: AskCommand) -> ToolChoice:
        """Raises RequestError where there is no such tool."""
        names = [tool.name for tool in self._tools]
        choices: dict[str, ToolChoice] = {"auto": "auto", "none": "none"}
        if names:
            choices |= {"required": "required", **{name: OneTool(name) for name in names}}
        if request.tool_choice not in choices:
            raise RequestError("unknown_tool", f"tool_choice {request.tool_choice!r} is none of {', '.join(choices)}")
        return choices[request.tool_choice]

    def _ask(self, messages: list[Message], request: AskCommand, choice: ToolChoice, deadline: float) -> Answer:
        model = self._config.model
        return ask(
            self._engine,
            messages,
            self._tools,
            tool_choice=choice,
            call_above=self._config.commands.call_above,
            max_tokens=request.max_tokens or model.max_tokens,
            sampling=Sampling(model.temperature, model.seed),
            request=Request(Priority.COMMAND, deadline, self._cancelled),
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
