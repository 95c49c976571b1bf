"""Put a question or a command to the model; get text or function calls back, at once or piece by piece."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from lineside.runtime.bounds import check_question
from lineside.runtime.chat import Message, Picture, Tool, ToolCall
from lineside.runtime.defaults import CALL_ABOVE
from lineside.runtime.engine.engine import Engine
from lineside.runtime.engine.sampling import Sampling
from lineside.runtime.engine.scheduler import Request
from lineside.runtime.engine.sequence import Sequence as EngineSequence
from lineside.runtime.errors import AnswerError
from lineside.runtime.grammar.json_schema import Schema
from lineside.runtime.grammar.tool_grammar import ToolChoice
from lineside.runtime.grammar.verbatim import said, said_once
from lineside.runtime.text.call_stream import CallStream, Delta
from lineside.runtime.text.canonical import CallIds, Canonical
from lineside.runtime.text.confidence import Confidence, ConfidenceMeter
from lineside.runtime.text.thoughts import split_thoughts
from lineside.runtime.text.tool_calls import parse_tool_calls
from lineside.runtime.timings import Counts, FinishReason, Timings, stopwatch

log = logging.getLogger("lineside.assistant")
DEFAULT_MAX_TOKENS = 256
CALL_ID_TOKENS = 80
"""Room for the ids that we put into the calls of a model before v13."""


@dataclass(frozen=True)
class Answer:
    """Text, calls, or both. Calls are given only where generation came to its end and all of them can be read.

    Attributes:
        calls: with `verbatim_arguments`, without what `runtime.grammar.verbatim.said_once` leaves out.
        confidences: one for each of `calls`.
        thought: what a reasoning model wrote between `[THINK]` and `[/THINK]`; no part of `text`, nor of `message`.
        ids: the answer's tokens as they stand in the cache. Those of the calls that were generated are what
            mistral-common writes for them.
    """

    text: str
    calls: tuple[ToolCall, ...]
    finish_reason: FinishReason
    timings: Timings
    counts: Counts
    ids: tuple[int, ...] = ()
    confidences: tuple[Confidence, ...] = ()
    thought: str = ""

    def message(self) -> Message:
        """The assistant's turn, to go on from."""
        return Message("assistant", (self.text,) if self.text else (), self.calls)


def tool_result(call: ToolCall, content: str) -> Message:
    """What came of a call, for the model: any text, JSON where there is some."""
    return Message("tool", (content,), tool_call_id=call.id)


class AnswerStream(Iterator[Delta]):
    """An answer under way: iterate over its deltas, then read `answer`.

    Text comes in whole characters; a call as its name, then pieces of its arguments. A call is complete, and may be
    carried out, only when it is in `answer.calls`. While a stream is under way it holds a KV cache: use it in a `with`
    block, or `close()` it, where you may leave early.
    """

    def __init__(self, pieces: Iterator[Delta | Answer]) -> None:
        self._pieces = pieces
        self._answer: Answer | None = None

    def __next__(self) -> Delta:
        piece = next(self._pieces)
        if isinstance(piece, Answer):
            self._answer = piece
            raise StopIteration
        return piece

    @property
    def answer(self) -> Answer:
        """The whole answer; raises RuntimeError while the stream is not at its end."""
        if self._answer is None:
            raise RuntimeError("the answer is not complete: iterate to the end first")
        return self._answer

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """End the request now, and give its cache back."""
        close = getattr(self._pieces, "close", None)
        if close is not None:
            close()


def ask(
    engine: Engine,
    messages: Sequence[Message],
    tools: Sequence[Tool] = (),
    *,
    tool_choice: ToolChoice = "auto",
    max_tokens: int = DEFAULT_MAX_TOKENS,
    sampling: Sampling | None = None,
    request: Request | None = None,
    call_above: float = CALL_ABOVE,
    schema: Schema | None = None,
) -> Answer:
    """Answer a conversation that ends in a user or tool turn.

    With tools, a grammar bounds calls to their names and parameters. Where `tool_choice` leaves the choice, an answer
    begins with a call only if its probability is at least `call_above`. Without tools, or with `tool_choice` "none",
    no call and no other control token can be written. Without tools and with a `schema` (JSON Schema, draft 2020-12)
    the text is compact JSON that satisfies it, unless it was cut off.

    Raises:
        ValueError: both tools and a schema.
        NotTaught: without tools, of a model that was not taught to converse (`taught` in its manifest).
        EngineError: see `runtime.errors`.
    """
    answer = stream(
        engine,
        messages,
        tools,
        tool_choice=tool_choice,
        max_tokens=max_tokens,
        sampling=sampling,
        request=request,
        call_above=call_above,
        schema=schema,
    )
    for _ in answer:
        pass
    return answer.answer


def stream(
    engine: Engine,
    messages: Sequence[Message],
    tools: Sequence[Tool] = (),
    *,
    tool_choice: ToolChoice = "auto",
    max_tokens: int = DEFAULT_MAX_TOKENS,
    sampling: Sampling | None = None,
    request: Request | None = None,
    call_above: float = CALL_ABOVE,
    schema: Schema | None = None,
) -> AnswerStream:
    """Like `ask`, piece by piece. The request begins with the first piece that is taken."""
    if tools and schema is not None:
        raise ValueError("an answer may call tools, or satisfy a schema: give one of them")
    pieces = _pieces(engine, messages, tools, tool_choice, max_tokens, sampling, request, call_above, schema)
    return AnswerStream(pieces)


class Assistant:
    """A conversation with tools: remembers what was said. Nothing is carried out.

    Args:
        tools: what the model may call.
        system: what the model is told first.
    """

    def __init__(self, engine: Engine, tools: Sequence[Tool] = (), system: str = "") -> None:
        self._engine, self._tools = engine, tuple(tools)
        self.messages: list[Message] = [Message("system", (system,))] if system else []

    def ask(self, text: str, *pictures: Picture, schema: Schema | None = None) -> Answer:
        """Say something, with pictures where the model takes them. What fails is not remembered.

        With a `schema` the text of the answer is JSON that satisfies it, and no tool is offered.

        Raises:
            EngineError: see `ask` of this module.
        """
        return self._go_on([*self.messages, Message("user", (*pictures, text))], schema)

    def tell(self, *results: tuple[ToolCall, str]) -> Answer:
        """Tell what came of the calls of the last answer, as pairs of call and text; the model goes on from there.

        Raises:
            EngineError: see `ask` of this module.
        """
        return self._go_on([*self.messages, *(tool_result(call, text) for call, text in results)])

    def _go_on(self, messages: list[Message], schema: Schema | None = None) -> Answer:
        answer = ask(self._engine, messages, self._tools if schema is None else (), schema=schema)
        self.messages = [*messages, answer.message()]
        return answer


def _pieces(
    engine: Engine,
    messages: Sequence[Message],
    tools: Sequence[Tool],
    tool_choice: ToolChoice,
    max_tokens: int,
    sampling: Sampling | None,
    request: Request | None,
    call_above: float,
    schema: Schema | None,
) -> Iterator[Delta | Answer]:
    """Deltas, then the answer."""
    pictures = any(not isinstance(part, str) for message in messages for part in message.content)
    check_question(engine.bundle.manifest, tools=bool(tools), pictures=pictures)
    preprocess = Timings()
    with stopwatch(preprocess, "preprocess"):
        prompt = engine.tokenizer.encode_chat(messages, tools)
        heard = said(messages) if tools and engine.bundle.manifest.verbatim_arguments else None
        constraint = engine.grammars.tools(tools, tool_choice, heard) if tools else None
        if schema is not None:
            constraint = engine.grammars.json(schema)
    tokenizer = engine.tokenizer
    extra = CALL_ID_TOKENS if tools and tokenizer.calls_with_ids else 0
    room = max(min(max_tokens + extra, engine.capacity - len(prompt.ids)), 1)
    with engine.sequence(prompt, reserve=room, request=request) as sequence:
        sequence.timings.preprocess_ms = preprocess.preprocess_ms
        made = 1.0
        if tools and tool_choice == "auto":
            made = _hold_back(sequence, tokenizer.tool_calls_id, call_above)
        call_ids = CallIds()
        decoding = engine.decode(
            sequence,
            max_tokens=max_tokens,
            sampling=sampling,
            constraint=constraint,
            forbidden=tokenizer.control_ids if constraint is None else frozenset(),  # a grammar names what it allows
            canonical=Canonical(tokenizer, call_ids) if tools else None,
            weigh=bool(tools),
        )
        deltas, meter = CallStream(tokenizer, call_ids), ConfidenceMeter()
        for token in decoding:
            before = deltas.index, deltas.state
            pieces = list(deltas.push(token))
            meter.push(deltas.index, before[1] if deltas.index == before[0] else "text", decoding.probability)
            yield from pieces
        yield from deltas.finish()
        ids = tuple(sequence.text_keys[len(prompt.ids) :].tolist())
        reason = decoding.finish_reason or "stop"
        answer = _answer(engine, ids, reason, sequence, call_ids)
    answer = dataclasses.replace(answer, confidences=_confidences(meter, answer, made))
    if heard is not None:
        answer = dataclasses.replace(answer, calls=_said_once(answer.calls, tools, messages))
    yield answer


def _hold_back(sequence: EngineSequence, call: int | None, least: float) -> float:
    """Let the answer begin with something else than a call, where that is less likely than `least`.

    Returns the probability of a call.
    """
    logits = sequence.logits.astype(np.float64)
    if call is None or not np.isfinite(logits).all():  # decoding will say so
        return 1.0
    odds = np.exp(logits - logits.max())
    probability = odds[call] / odds.sum()
    if probability < least:
        if odds[call] == 1.0:
            log.info("no function is called: the model is sure by %.0f%% only that one is wanted", 100 * probability)
        row = sequence.logits.copy()
        row[call] = np.finfo(np.float32).min
        sequence.logits = row
    return float(probability)


def _confidences(meter: ConfidenceMeter, answer: Answer, made: float) -> tuple[Confidence, ...]:
    """One for each call; the list of v3 and v7 is one to the meter. `made` is the probability of any call."""
    if not meter.calls:
        return ()
    given = [dataclasses.replace(meter.calls[0], call=made), *meter.calls[1:]]
    return tuple(given[min(index, len(given) - 1)] for index in range(len(answer.calls)))


def _said_once(calls: Sequence[ToolCall], tools: Sequence[Tool], messages: Sequence[Message]) -> tuple[ToolCall, ...]:
    schemas = {tool.name: tool.parameters for tool in tools}
    return tuple(
        dataclasses.replace(call, arguments=said_once(call.arguments, schemas[call.name], messages)) for call in calls
    )


def _answer(
    engine: Engine, ids: tuple[int, ...], reason: FinishReason, sequence: EngineSequence, call_ids: CallIds
) -> Answer:
    own, thought = split_thoughts(engine.tokenizer, ids)
    text = engine.tokenizer.decode(_before_calls(engine, own))
    calls: tuple[ToolCall, ...] = ()
    if reason == "stop":
        try:
            _, parsed = parse_tool_calls(engine.tokenizer, own)
            calls = tuple(dataclasses.replace(call, id=call_ids[index]) for index, call in enumerate(parsed))
        except AnswerError as error:
            log.info("no function is called: %s", error)
            reason = "unreadable"
    thoughts = engine.tokenizer.decode(thought).strip()
    return Answer(text.strip(), calls, reason, sequence.timings, sequence.counts, ids, thought=thoughts)


def _before_calls(engine: Engine, ids: tuple[int, ...]) -> tuple[int, ...]:
    """The tokens of an answer's free text; half a call is not shown to anybody."""
    marker = engine.tokenizer.tool_calls_id
    return ids[: ids.index(marker)] if marker in ids else ids
