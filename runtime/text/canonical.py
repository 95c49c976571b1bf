"""Keeps the tokens of calls what mistral-common would write.

A text has one tokenization that a model was trained on and many others that spell the same characters. A model may
pick its way through the others. Whenever it does, the tokens since the last control token are replaced by the
tokenizer's own for the same text, so that every further choice is made behind tokens as they were in training, and a
later prompt with this call in it finds them in the cache. The text stays the same, but for what JSON may write in more
than one way (`1.50`), which is replaced when the call is complete. Call ids are ours, and put in where a format has
them.

About the matter: Vieira et al., "Language models over canonical byte-pair encodings" (2025).
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lineside.runtime.text.strict_json import load_json
from lineside.runtime.text.tool_calls import new_call_id

if TYPE_CHECKING:
    from lineside.runtime.text.tokenizer import Tokenizer


@dataclass
class CallIds:
    """The ids of an answer's calls, in order; drawn when they are first asked for."""

    drawn: list[str] = field(default_factory=list)

    def __getitem__(self, index: int) -> str:
        while len(self.drawn) <= index:
            self.drawn.append(new_call_id())
        return self.drawn[index]


class Canonical:
    """Follows one answer. `push` and `finish` return the tail that takes the place of tokens already there, or None.

    Attributes:
        tail: tokens since the last control token within a call, as they should stand.
    """

    def __init__(self, tokenizer: Tokenizer, ids: CallIds) -> None:
        self._tokenizer, self._ids = tokenizer, ids
        self._bytes = tokenizer.token_bytes
        self._marker, self._args = tokenizer.tool_calls_id, tokenizer.special_id("[ARGS]")
        self._calling = False
        self._in_arguments = not tokenizer.named_calls
        self._calls = 0
        self.tail: list[int] = []

    def push(self, token: int) -> list[int] | None:
        """Take in a token. The list, if any, replaces `tail` and the token."""
        if not self._bytes[token]:
            return self._control(token)
        if not self._calling:
            return None
        return self._replace([*self.tail, token], self._encode([*self.tail, token]))

    def finish(self) -> list[int] | None:
        """No token follows."""
        return self._replace(self.tail, self._final()) if self._calling else None

    def _control(self, token: int) -> list[int] | None:
        """A control token ends the tail before it; the new tail is empty."""
        ended = [*self.tail, token]
        wanted = [*(self._final() if self._calling else self.tail), token]
        if token == self._marker:
            self._calling, self._in_arguments = True, not self._tokenizer.named_calls
            self._calls += 1
        elif token == self._args and self._calling:
            self._in_arguments = True
            wanted[-1:] = [*self._call_id(), token]
        self.tail = []
        return wanted if wanted != ended else None

    def _call_id(self) -> list[int]:
        token = self._tokenizer.special_id("[CALL_ID]")
        if token is None or not self._tokenizer.calls_with_ids:
            return []
        return [token, *self._tokenizer.encode_text(self._ids[self._calls - 1]).tolist()]

    def _replace(self, present: list[int], wanted: list[int]) -> list[int] | None:
        self.tail = wanted
        return wanted if wanted != present else None

    def _encode(self, tokens: list[int]) -> list[int]:
        """The tokenizer's own tokens for the same text; the same where it ends within a character."""
        try:
            text = b"".join(self._bytes[token] for token in tokens).decode()
        except UnicodeDecodeError:
            return tokens
        wanted: list[int] = self._tokenizer.encode_text(text).tolist()
        return wanted

    def _final(self) -> list[int]:
        """The tail when it is complete: arguments as `json.dumps` writes them."""
        if not self._in_arguments:
            return self.tail
        try:
            value = load_json(self._tokenizer.decode(self.tail))
            if not self._tokenizer.named_calls:
                for index, item in enumerate(value):
                    item["id"] = self._ids[index]
        except (ValueError, TypeError):
            return self.tail  # cut off, or for `parse_tool_calls` to refuse
        wanted: list[int] = self._tokenizer.encode_text(json.dumps(value, ensure_ascii=False)).tolist()
        return wanted
