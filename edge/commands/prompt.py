"""What a model is shown besides the command: the last states, and what was said before."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from lineside.edge.commands.deciding import reads_more
from lineside.edge.commands.memory import Turn, history
from lineside.edge.wire.messages import CallReport
from lineside.runtime.chat import Message
from lineside.runtime.engine.engine import Engine


def opening(
    engine: Engine,
    system: str,
    text: str,
    fits: Callable[[Sequence[Message]], bool],
    *,
    states: str,
    turns: Sequence[Turn],
    told: Callable[[CallReport], str],
) -> list[Message]:
    """The messages up to the command. Where there is no room for all of them, the oldest turns are left out.

    Args:
        fits: whether messages leave room for a tool and an answer.
        states: the last states, `States.text`.
        told: what the model hears of a call.
    """
    command = text if not reads_more(engine) or not states else f"{states}\n\n{text}"
    kept = tuple(turns) if reads_more(engine) else ()
    while True:
        messages = [Message("system", (system,)), *history(kept, told), Message("user", (command,))]
        if not kept or fits(messages):
            return messages
        kept = kept[1:]
