"""Put a question or a command to the model; get text or function calls back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from runtime.chat import Message, Tool, ToolCall
from runtime.engine import Engine, FinishReason, Timings, stopwatch
from runtime.grammar import ToolChoice
from runtime.sampling import Sampling
from runtime.tool_calls import parse_tool_calls

DEFAULT_MAX_TOKENS = 256


@dataclass(frozen=True)
class Answer:
    """Text, calls, or both. Calls are given only where generation came to its end."""

    text: str
    calls: tuple[ToolCall, ...]
    finish_reason: FinishReason
    timings: Timings
    prompt_tokens: int
    answer_tokens: int


def ask(
    engine: Engine,
    messages: Sequence[Message],
    tools: Sequence[Tool] = (),
    *,
    tool_choice: ToolChoice = "auto",
    max_tokens: int = DEFAULT_MAX_TOKENS,
    sampling: Sampling | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Answer:
    """Answer a conversation that ends in a user or tool turn.

    With tools, a grammar bounds calls to their names and parameters.

    Raises:
        EngineError: see `runtime.errors`.
    """
    preprocess = Timings()
    with stopwatch(preprocess, "preprocess"):
        prompt = engine.tokenizer.encode_chat(messages, tools)
        constraint = engine.grammars.tools(tools, tool_choice) if tools else None
    with engine.exclusive():
        sequence = engine.prefill(prompt, reserve=1)
        sequence.timings.preprocess_ms = preprocess.preprocess_ms
        generation = engine.decode(
            sequence, max_tokens=max_tokens, sampling=sampling, constraint=constraint, cancelled=cancelled
        )
    calls: tuple[ToolCall, ...] = ()
    if generation.finish_reason == "stop":
        text, calls = parse_tool_calls(engine.tokenizer, generation.ids)
    else:
        text = engine.tokenizer.decode(_before_calls(engine, generation.ids))
    return Answer(text.strip(), calls, generation.finish_reason, sequence.timings, len(prompt.ids), len(generation.ids))


def _before_calls(engine: Engine, ids: tuple[int, ...]) -> tuple[int, ...]:
    """The free text of an answer that was cut off; half a call is not shown to anybody."""
    marker = engine.tokenizer.special_id("[TOOL_CALLS]")
    return ids[: ids.index(marker)] if marker in ids else ids
