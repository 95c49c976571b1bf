"""What stands before the verdict of an answer: nothing, or a bounded reasoning under the grammar."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from lineside.runtime.engine.engine import Engine
from lineside.runtime.engine.sampling import GREEDY
from lineside.runtime.engine.sequence import Sequence
from lineside.runtime.inspection.task import ANSWER_PREFIX, REASONING, InspectionTask
from lineside.runtime.inspection.verdict import Verdict
from lineside.runtime.timings import FinishReason

UNDECIDED: Mapping[Verdict, float] = {"pass": 0.0, "fail": 0.0, "unsure": 1.0}
FRAME_TOKENS = 32
"""What stands around the reasoning, at most."""
THEN = f",{ANSWER_PREFIX[1:]}"


def most_reasoning_tokens(task: InspectionTask) -> int:
    """What reasoning may take; 0 where there is none."""
    most = task.asked.reasoning_characters
    return most + FRAME_TOKENS if most else 0


class Reasoner:
    """Brings a sequence to where the verdict's first token comes next.

    Attributes:
        prefix: tokens `(T,)` behind each prompt, with which every answer begins.
        most_tokens: that reasoning may take; 0 where there is none.
    """

    def __init__(self, engine: Engine, task: InspectionTask) -> None:
        self._engine = engine
        most = task.asked.reasoning_characters
        self.most_tokens = most_reasoning_tokens(task)
        begin = f'{{"{REASONING}":"' if most else ANSWER_PREFIX
        self.prefix: npt.NDArray[np.int64] = engine.tokenizer.encode_text(begin)
        schema = {"type": "string", "maxLength": most}
        self._constraint = engine.grammars.beginning(REASONING, schema, THEN) if most else None

    def begin(self, sequence: Sequence) -> tuple[npt.NDArray[np.int64], FinishReason]:
        """The tokens before the verdict, whose logits the sequence has; other than `stop` where it was cut off."""
        if self._constraint is None:
            return self.prefix, "stop"
        constraint = self._constraint.fresh()
        constraint.accept(self.prefix.tolist())
        written = self._engine.generate(sequence, max_tokens=self.most_tokens, sampling=GREEDY, constraint=constraint)
        if written.finish_reason != "stop":
            return self.prefix, written.finish_reason
        sequence.replace(
            1, [written.ids[-1]]
        )  # it may have been a guess of the last pass: its logits are computed anew
        sequence.extend(np.empty(0, np.int64))
        return np.asarray([*self.prefix, *written.ids], np.int64), "stop"
