"""Put a question or a command to the model; get text or function calls back, at once or piece by piece."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

from runtime.chat import Message, Tool, ToolCall
from runtime.decoding import FinishReason
from runtime.engine import Engine
from runtime.grammar import ToolChoice
from runtime.sampling import Sampling
from runtime.scheduler import Request
from runtime.sequence import Counts
from runtime.stream import TextStream
from runtime.timings import Timings, stopwatch
from runtime.tool_calls import parse_tool_calls

DEFAULT_MAX_TOKENS = 256


@dataclass(frozen=True)
class Answer:
    """Text, calls, or both. Calls are given only where generation came to its end."""

    text: str
    calls: tuple[ToolCall, ...]
    finish_reason: FinishReason
    timings: Timings
    counts: Counts


class AnswerStream(Iterator[str]):
    """An answer under way: iterate over its pieces of text, then read `answer`.

    Pieces are whole characters. A function call is no text; it is in `answer.calls`. While a stream is under way it
    holds a KV cache: use it in a `with` block, or `close()` it, where you may leave early.
    """

    def __init__(self, pieces: Iterator[str | Answer]) -> None:
        self._pieces = pieces
        self._answer: Answer | None = None

    def __next__(self) -> str:
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
) -> Answer:
    """Answer a conversation that ends in a user or tool turn.

    With tools, a grammar bounds calls to their names and parameters.

    Raises:
        EngineError: see `runtime.errors`.
    """
    answer = stream(
        engine, messages, tools, tool_choice=tool_choice, max_tokens=max_tokens, sampling=sampling, request=request
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
) -> AnswerStream:
    """Like `ask`, piece by piece. The request begins with the first piece that is taken."""
    return AnswerStream(_pieces(engine, messages, tools, tool_choice, max_tokens, sampling, request))


def _pieces(
    engine: Engine,
    messages: Sequence[Message],
    tools: Sequence[Tool],
    tool_choice: ToolChoice,
    max_tokens: int,
    sampling: Sampling | None,
    request: Request | None,
) -> Iterator[str | Answer]:
    """Pieces of text, then the answer."""
    preprocess = Timings()
    with stopwatch(preprocess, "preprocess"):
        prompt = engine.tokenizer.encode_chat(messages, tools)
        constraint = engine.grammars.tools(tools, tool_choice) if tools else None
    room = max(min(max_tokens, engine.capacity - len(prompt.ids)), 1)
    with engine.sequence(prompt, reserve=room, request=request) as sequence:
        sequence.timings.preprocess_ms = preprocess.preprocess_ms
        decoding = engine.decode(sequence, max_tokens=max_tokens, sampling=sampling, constraint=constraint)
        text = TextStream(engine.tokenizer)
        ids: list[int] = []
        calling, marker = False, engine.tokenizer.special_id("[TOOL_CALLS]")
        for token in decoding:
            ids.append(token)
            if token == marker and not calling:
                calling = True
                if piece := text.finish():
                    yield piece
            if not calling and (piece := text.push(token)):
                yield piece
        if not calling and (piece := text.finish()):
            yield piece
        reason = decoding.finish_reason or "stop"
        answer = _answer(engine, tuple(ids), reason, sequence.timings, sequence.counts)
    yield answer


def _answer(engine: Engine, ids: tuple[int, ...], reason: FinishReason, timings: Timings, counts: Counts) -> Answer:
    calls: tuple[ToolCall, ...] = ()
    if reason == "stop":
        text, calls = parse_tool_calls(engine.tokenizer, ids)
    else:
        text = engine.tokenizer.decode(_before_calls(engine, ids))
    return Answer(text.strip(), calls, reason, timings, counts)


def _before_calls(engine: Engine, ids: tuple[int, ...]) -> tuple[int, ...]:
    """The free text of an answer that was cut off; half a call is not shown to anybody."""
    marker = engine.tokenizer.special_id("[TOOL_CALLS]")
    return ids[: ids.index(marker)] if marker in ids else ids
