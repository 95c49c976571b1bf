"""Tools ranked for a command by its words: BM25 over all that a station says of each of them.

Stems are compared within a language, concepts across languages (`runtime.commands.concepts`).
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lineside.runtime.commands.concepts import features, split_name
from lineside.runtime.commands.declared import Declared
from lineside.runtime.commands.heard import Heard
from lineside.runtime.commands.language import language, likely

NAME_COUNTS = 2
"""How often the words of a name are taken, beside those of the description."""
MARKS = re.compile(r"[\[\](){}|<>]")


@dataclass(frozen=True)
class Ranking:
    """Scores of tools by name, the best first; those that share no word with the command have 0.

    `words` has the features of each tool.
    """

    scores: Mapping[str, float]
    words: Mapping[str, frozenset[str]] = field(default_factory=dict)

    @property
    def best(self) -> str:
        """The name of the first; empty where no tool shares a word with the command."""
        name = next(iter(self.scores), "")
        return name if self.scores.get(name, 0.0) > 0 else ""

    def share(self, name: str) -> float:
        """A tool's score as a share of the best, 0 to 1."""
        return self.scores.get(name, 0.0) / self.scores[self.best] if self.best else 0.0

    @property
    def lead(self) -> float:
        """By how much of its own score the best is ahead of the next, 0 to 1."""
        first, second = [*self.scores.values(), 0.0, 0.0][:2]
        return 1 - second / first if first > 0 else 0.0


class ToolIndex:
    """The words of a station's tools; `words` has the features of each by name."""

    def __init__(self, tools: Sequence[Declared]) -> None:
        self._names = [tool.name for tool in tools]
        documents = [document(tool) for tool in tools]
        self.words = {tool.name: frozenset(found) for tool, found in zip(tools, documents, strict=True)}
        self._known = frozenset(word for words in documents for word in words)
        self._bm25: Any = None
        if self._known:
            import bm25s

            logging.getLogger("bm25s").setLevel(logging.WARNING)  # it announces every index
            self._bm25 = bm25s.BM25()
            self._bm25.index(documents, show_progress=False)

    def rank(self, heard: Heard) -> Ranking:
        """Every tool with its score."""
        words = sorted(heard.features & self._known)
        scores = np.zeros(len(self._names))
        if words and self._bm25 is not None:
            scores = self._bm25.get_scores(words)
            scores = self._of_another_thing(heard, words, scores)
        order = np.argsort(-scores, kind="stable")
        return Ranking({self._names[int(at)]: float(scores[at]) for at in order}, self.words)

    def _of_another_thing(self, heard: Heard, words: list[str], scores: Any) -> Any:
        """The scores, without the garage of `garage light` for tools that know a garage, and no light."""
        found = np.array(scores, dtype=np.float64)
        for pair in heard.modified:
            others = [at for at, name in enumerate(self._names) if pair.is_another(self.words[name])]
            left = [word for word in words if word not in pair.features and word.lstrip("#") not in pair.by]
            if others:
                found[others] = self._bm25.get_scores(left)[others] if left else 0.0
        return found


def document(tool: Declared) -> list[str]:
    """The features of a tool: its name counts twice."""
    found = features(split_name(tool.name), [language("en")]) * NAME_COUNTS
    for text in _texts(tool):
        found += features(text, likely(text))
    return found


def _texts(tool: Declared) -> Iterator[str]:
    yield tool.tool.description
    for name, schema in tool.properties.items():
        yield split_name(name)
        yield str(schema.get("description", ""))
        yield " , ".join(split_name(str(value)) for value in _values(schema))
    for values in tool.words.values():
        for forms in values.values():
            yield " , ".join(forms)
    for phrase in tool.phrases:
        yield MARKS.sub(" ", phrase)


def _values(schema: Any) -> Iterator[Any]:
    """All values that an enum or const anywhere in a schema names."""
    if isinstance(schema, Mapping):
        yield from schema.get("enum", ())
        yield from [schema["const"]] if "const" in schema else []
        for key, part in schema.items():
            if key not in ("enum", "const", "default", "examples"):
                yield from _values(part)
    elif isinstance(schema, list):
        for part in schema:
            yield from _values(part)
