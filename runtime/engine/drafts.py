"""Guesses at the next tokens, to be verified together in one pass: tokens that the grammar forces, and tokens that
followed the same words earlier in the prompt or the answer.

A guess does not change what is generated: each of its tokens is accepted only where it is the one that is chosen from
the logits before it. It changes how many tokens one pass over the weights yields. (A pass over several tokens adds up
in another order than a pass over one: two tokens whose logits differ by no more than rounding may change places.)
Source of the second kind: A. Saxena, prompt lookup decoding (2023).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from lineside.runtime.sessions.interface import MAX_DECODE_TOKENS

if TYPE_CHECKING:
    from lineside.runtime.grammar.constraint import Constraint

MAX_DRAFT = MAX_DECODE_TOKENS - 1
PATTERN_LENGTHS = (4, 2)
TOKEN_BYTES = 4
PICTURE = -1
"""Stands for every token of a picture, which is never a guess."""


class Drafter:
    """Drafts for one answer, given the keys `(T,)` of what stands before it.

    The length of a draft from earlier text doubles when all of it was right and halves when it was not, so that text
    which only seems to repeat itself costs little.
    """

    def __init__(self, keys: npt.NDArray[np.int64]) -> None:
        self._text = bytearray(np.maximum(keys, PICTURE).astype("<i4").tobytes())
        self._length = 4
        self._copied = 0

    def append(self, token: int) -> None:
        self._text += token.to_bytes(TOKEN_BYTES, "little")

    def propose(self, constraint: Constraint | None, room: int) -> list[int]:
        """At most `room` tokens that may come next; possibly none."""
        room = min(room, MAX_DRAFT)
        forced = constraint.forced()[:room] if constraint is not None else []
        copied = self._continuation(forced, min(self._length, room - len(forced)))
        draft = [*forced, *copied]
        if copied and constraint is not None:
            draft = draft[: max(constraint.count_allowed(draft), len(forced))]
        self._copied = len(draft) - len(forced)
        return draft

    def report(self, proposed: int, accepted: int) -> None:
        """How many of the last draft's tokens were right."""
        if not self._copied:
            return
        if accepted == proposed:
            self._length = min(2 * self._length, MAX_DRAFT)
        elif accepted <= proposed - self._copied:
            self._length = max(self._length // 2, 2)

    def _continuation(self, forced: Sequence[int], count: int) -> list[int]:
        """What followed the latest earlier occurrence of the last few tokens."""
        if count <= 0:
            return []
        tail = b"".join(token.to_bytes(TOKEN_BYTES, "little") for token in forced)
        text = bytes(self._text) + tail
        for length in PATTERN_LENGTHS:
            at = _find_last(text, length * TOKEN_BYTES)
            if at >= 0:
                start = at + length * TOKEN_BYTES
                found: list[int] = np.frombuffer(text[start : start + count * TOKEN_BYTES], "<i4").tolist()
                return found[: found.index(PICTURE)] if PICTURE in found else found
        return []


def _find_last(text: bytes, size: int) -> int:
    """Where the last `size` bytes stand for the last time before the end, on a token's boundary; -1 if nowhere."""
    pattern, end = text[-size:], len(text) - TOKEN_BYTES
    while (at := text.rfind(pattern, 0, end)) >= 0:
        if at % TOKEN_BYTES == 0:
            return at
        end = at + size - 1
    return -1
