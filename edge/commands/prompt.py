"""What a model is shown besides the command: the last states, and what was said before."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from lineside.edge.commands.memory import Turn, history
from lineside.edge.wire.messages import CallReport
from lineside.runtime.chat import Message, Tool
from lineside.runtime.engine.engine import Engine

MIN_ROOM = 128
"""Tokens for a command and its answer, at the least."""


def reads_more(engine: Engine) -> bool:
    """Whether the model was taught to read more than a command; one that was not calls worse with it."""
    return engine.bundle.manifest.taught.conversation is not False


def opening(
    engine: Engine,
    system: str,
    text: str,
    tools: Sequence[Tool],
    *,
    states: str,
    turns: Sequence[Turn],
    told: Callable[[CallReport], str],
) -> list[Message]:
    """The messages up to the command. Where there is no room for all of them, the oldest turns are left out.

    Args:
        states: the last states, `States.text`.
        told: what the model hears of a call.
    """
    command = text if not reads_more(engine) or not states else f"{states}\n\n{text}"
    kept = tuple(turns) if reads_more(engine) else ()
    while True:
        messages = [Message("system", (system,)), *history(kept, told), Message("user", (command,))]
        if not kept or len(engine.tokenizer.encode_chat(messages, tools).ids) + MIN_ROOM <= engine.capacity:
            return messages
        kept = kept[1:]
