"""Examples: a few of the user's own pictures, with their verdicts, that the model is shown before each picture.

They are the turns of a conversation that goes before. All that stands before the picture itself is a prefix, the same
for every frame: it is encoded, embedded and prefilled once, and pinned in the prefix cache.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from lineside.runtime.chat import Prompt
from lineside.runtime.engine.engine import Engine
from lineside.runtime.engine.pins import Pin
from lineside.runtime.inspection.task import InspectionTask

if TYPE_CHECKING:
    from lineside.runtime.text.tokenizer import Tokenizer

MOST_EXAMPLES = 16


def with_examples(tokenizer: Tokenizer, task: InspectionTask) -> tuple[Prompt, int]:
    """The prefix of a task that has examples, and the tokens behind it of a frame as large as the largest example.

    Raises:
        EngineError: the model takes no pictures, or one of these cannot be shown.
    """
    largest = max((example.picture for example in task.examples), key=lambda picture: picture.size)
    chat = tokenizer.encode_chat(task.messages(largest))
    alone = tokenizer.encode_chat(replace(task, examples=()).messages(largest))
    behind = len(alone.ids) - _first_picture(tokenizer, alone)
    return Prompt(chat.ids[:-behind], chat.pixels[:-1]), behind


class ShownBefore:
    """The prefix of one task, in the cache for as long as this object lives.

    Args:
        answer_tokens: room that a frame needs behind its own tokens.
    """

    def __init__(self, engine: Engine, task: InspectionTask, answer_tokens: int) -> None:
        self._tokenizer = engine.tokenizer
        prefix, frame_tokens = with_examples(engine.tokenizer, task)
        room = engine.capacity - len(prefix.ids)
        self.pin: Pin = engine.pin(prefix, reserve=min(frame_tokens + answer_tokens, room))

    def before(self, frame: Prompt) -> Prompt:
        """The prompt of a frame that was encoded without the examples."""
        begin = _first_picture(self._tokenizer, frame)
        prefix = self.pin.prompt
        return Prompt(np.concatenate([prefix.ids, frame.ids[begin:]]), (*prefix.pixels, *frame.pixels))


def _first_picture(tokenizer: Tokenizer, prompt: Prompt) -> int:
    """Where its first [IMG] token stands."""
    return int(np.flatnonzero(prompt.ids == tokenizer.special_id("[IMG]"))[0])
