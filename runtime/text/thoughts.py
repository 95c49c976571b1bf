"""What a reasoning model thinks before it answers: Magistral writes it between `[THINK]` and `[/THINK]`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lineside.runtime.text.tokenizer import Tokenizer


def split_thoughts(tokenizer: Tokenizer, ids: Sequence[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The tokens of the answer, and those of its thoughts, both without the marks.

    A thought that is not closed goes on to the first call, or to the end.
    """
    begin, end = tokenizer.thought_ids
    parts: tuple[list[int], list[int]] = ([], [])
    thinking = False
    for token in map(int, ids):
        if token == begin:
            thinking = True
        elif token == end:
            thinking = False
        else:
            thinking = thinking and token != tokenizer.tool_calls_id
            parts[thinking].append(token)
    return tuple(parts[0]), tuple(parts[1])
