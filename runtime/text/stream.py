"""Tokens to text, piece by piece: a character that is split over tokens comes out whole."""

from __future__ import annotations

import codecs
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lineside.runtime.text.tokenizer import Tokenizer


class TextStream:
    """Decodes a stream of tokens. Bytes that are not UTF-8 become U+FFFD; special tokens have no text."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._bytes = tokenizer.token_bytes
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, token: int) -> str:
        """The text that is complete with this token; often empty within a character."""
        return self._decoder.decode(self._bytes[token])

    def finish(self) -> str:
        """What is left when no token follows."""
        return self._decoder.decode(b"", final=True)
