"""An answer under way, as deltas: thoughts, text, the name of a call, its arguments; never half a character."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lineside.runtime.text.canonical import CallIds
from lineside.runtime.text.stream import TextStream

if TYPE_CHECKING:
    from lineside.runtime.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class TextDelta:
    """A piece of the answer's text."""

    text: str


@dataclass(frozen=True)
class ThoughtDelta:
    """A piece of what the model thinks before it answers."""

    text: str


@dataclass(frozen=True)
class CallDelta:
    """A call begins: the `index`-th of the answer. Its arguments follow."""

    index: int
    id: str
    name: str


@dataclass(frozen=True)
class ArgumentsDelta:
    """A piece of the JSON of a call's arguments."""

    index: int
    text: str


Delta = TextDelta | ThoughtDelta | CallDelta | ArgumentsDelta


class CallStream:
    """Turns tokens into deltas."""

    def __init__(self, tokenizer: Tokenizer, ids: CallIds) -> None:
        self._tokenizer, self._ids = tokenizer, ids
        self._marker, self._args = tokenizer.tool_calls_id, tokenizer.special_id("[ARGS]")
        self._call_id = tokenizer.special_id("[CALL_ID]")
        self._begin_thought, self._end_thought = tokenizer.thought_ids
        self._text = TextStream(tokenizer)
        self._list = None if tokenizer.named_calls else _ListReader(ids)
        self._state = "text"
        self._name, self._index = "", -1

    @property
    def index(self) -> int:
        """Of the call that the next token belongs to; -1 before the first."""
        return self._index

    @property
    def state(self) -> str:
        """What the next token is a part of: `text`, `thought`, `name`, `id`, `arguments`; `list` in v3 and v7."""
        return self._state

    def push(self, token: int) -> Iterator[Delta]:
        if token == self._marker:
            yield from self._take(self._text.finish())
            self._state = "list" if self._list else "name"
            self._name, self._index = "", self._index + 1
        elif token == self._begin_thought and self._state == "text":
            yield from self._take(self._text.finish())
            self._state = "thought"
        elif token == self._end_thought and self._state == "thought":
            yield from self._take(self._text.finish())
            self._state = "text"
        elif token == self._args and self._state in ("name", "id"):
            self._state = "arguments"
            yield CallDelta(self._index, self._ids[self._index], self._name.strip())
        elif token == self._call_id and self._state == "name":
            self._state = "id"
        else:
            yield from self._take(self._text.push(token))

    def finish(self) -> Iterator[Delta]:
        yield from self._take(self._text.finish())

    def _take(self, piece: str) -> Iterator[Delta]:
        if not piece:
            return
        if self._state == "text":
            yield TextDelta(piece)
        elif self._state == "thought":
            yield ThoughtDelta(piece)
        elif self._state == "arguments":
            yield ArgumentsDelta(self._index, piece)
        elif self._state == "name":
            self._name += piece
        elif self._list:
            yield from self._list.push(piece)


class _ListReader:
    """The JSON list of v3 and v7, in the form that the grammar gives it, piece by piece."""

    HEAD = re.compile(r'[^{]*\{"name": "([^"]*)", "arguments": ')

    def __init__(self, ids: CallIds) -> None:
        self._ids, self._index = ids, -1
        self._before = ""
        self._depth = 0
        self._in_string = self._escaped = False

    def push(self, piece: str) -> Iterator[Delta]:
        """Outside of arguments text is kept until it names a call."""
        while piece:
            if not self._depth:
                self._before += piece
                head = self.HEAD.match(self._before)
                if head is None or head.end() == len(self._before):
                    return
                piece, self._before = self._before[head.end() :], ""
                self._index += 1
                yield CallDelta(self._index, self._ids[self._index], head[1])
            end = self._end(piece)
            yield ArgumentsDelta(self._index, piece[:end])
            piece = piece[end:]

    def _end(self, piece: str) -> int:
        """Where the arguments end in this piece; its length where they go on."""
        for at, character in enumerate(piece):
            if self._in_string:
                self._in_string = self._escaped or character != '"'
                self._escaped = character == "\\" and not self._escaped
            elif character == '"':
                self._in_string = True
            elif character in "{[":
                self._depth += 1
            elif character in "}]":
                self._depth -= 1
                if not self._depth:
                    return at + 1
        return len(piece)
