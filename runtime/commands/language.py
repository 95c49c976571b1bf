"""The languages in which commands are understood, and refused: words and patterns in `languages/`, one file each."""

from __future__ import annotations

import re
import tomllib
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "languages"
CODES = ("en", "de", "fr", "es")
"""English first: it is taken where nothing tells a language."""
WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)*'?")
EDGES = ' \t\n.,;:!¡¿-…"“”«»„'
QUOTES = str.maketrans(
    {**dict.fromkeys("’‘`´", "'"), **dict.fromkeys("\u00a0\u202f", " "), **dict.fromkeys("\u2010\u2011\u2212", "-")}
)
"""What keyboards and telephones write in place of plain apostrophes, spaces and hyphens."""


def plain(text: str) -> str:
    """Small letters, composed characters, plain apostrophes and single spaces."""
    return " ".join(unicodedata.normalize("NFC", text.translate(QUOTES)).casefold().replace("ß", "ss").split())


def words_of(text: str) -> list[str]:
    """The words of a plain text; an elided article keeps its apostrophe (`l'` and `eau` are two)."""
    words: list[str] = []
    for word in WORD.findall(text):
        head, mark, tail = word.partition("'")
        words += [head + mark, tail] if mark and tail and len(head) <= 2 else [word]
    return words


@dataclass(frozen=True)
class Language:
    """One language.

    Attributes:
        stemmer: its name at Snowball.
        compounds: whether words are written together (`Sitzheizung`).
        numbers: words that complete a number, such as `and a half`, or name the ends of a range.
        ones: words for one that may as well be articles.
        fractions: words for a share of a whole, such as `half`.
        refers: whole sentences that refer to the last call, such as `stop that` for `undo`.
        units: unit -> its words and signs, the longest first.
        before_texts: what may stand in front of a free text and is no part of it: `some`.
        kinds: what says of which kind a free text is: `the song`.
        beside_texts: content words that go on with no name: `now`, `tunes`.
        steps: what says, `before` a number or `behind` it, by how much; `value`, before it, that it is the value.
        idioms: where a word of place says nothing of a place (`right now`).
        never_first: prepositions with which no free text begins.
        concepts: English word -> words of this language for the same thing; see `runtime.commands.concepts`.
    """

    code: str
    name: str
    stemmer: str
    function_words: frozenset[str]
    prepositions: frozenset[str]
    articles: frozenset[str]
    fillers: re.Pattern[str]
    polite: re.Pattern[str]
    asks: re.Pattern[str]
    questions: re.Pattern[str]
    negations: re.Pattern[str]
    endings: re.Pattern[str]
    numbers: Mapping[str, Sequence[str]]
    fractions: Mapping[str, float]
    refusals: Mapping[str, str]
    refers: Mapping[str, re.Pattern[str]]
    ones: frozenset[str]
    units: Mapping[str, Sequence[str]]
    concepts: Mapping[str, Sequence[str]]
    before_texts: re.Pattern[str]
    kinds: re.Pattern[str]
    beside_texts: frozenset[str]
    never_first: frozenset[str]
    idioms: re.Pattern[str]
    steps: Mapping[str, re.Pattern[str]]
    compounds: bool = False

    def refusal(self, code: str, **values: Any) -> str:
        """The sentence for a refusal, in English where this language has none; the code itself where none has.

        `values` are those that stand in braces in the file: value, limit, parameter, values, tool, reason.
        """
        sentence = self.refusals.get(code) or language("en").refusals.get(code)
        return sentence.format_map(_Values(values)) if sentence else code

    def is_question(self, text: str) -> bool:
        """Whether a sentence asks for information. One that politely asks for an action does not."""
        said = self.bare(text)
        if self.asks.search(said):
            return True
        if self.polite.match(said):
            return False
        return bool(self.questions.match(said)) or text.rstrip(" \"'»”)").endswith("?")

    def negation(self, text: str) -> tuple[int, int] | None:
        """Where, in the plain text, the first word stands that negates; None where none does."""
        found = self.negations.search(plain(text))
        return found.span() if found else None

    def ends_something(self, text: str) -> bool:
        """Whether a negated sentence asks for the end of what is so (`don't leave it on`, `no more`)."""
        return bool(self.endings.search(plain(text)))

    def bare(self, text: str) -> str:
        """The plain text without what stands before the sentence itself, such as `please` and `hey`."""
        said = plain(text).strip(EDGES)
        while found := self.fillers.match(said):
            said = said[found.end() :].strip(EDGES)
        return said


class _Values(dict[str, Any]):
    def __missing__(self, key: str) -> str:
        return f"{{{key}}}"


@lru_cache(maxsize=len(CODES))
def language(code: str) -> Language:
    """The language of a code in `CODES`; raises KeyError for another."""
    if code not in CODES:
        raise KeyError(code)
    content = tomllib.loads((FOLDER / f"{code}.toml").read_text(encoding="utf-8"))
    sentence, negation = content["sentence"], content["negation"]
    return Language(
        code=code,
        name=content["name"],
        stemmer=content["stemmer"],
        compounds=content.get("compounds", False),
        function_words=frozenset(plain(content["function_words"]).split()),
        prepositions=frozenset(plain(content["prepositions"]).split()),
        articles=frozenset(plain(content["articles"]).split()),
        fillers=re.compile(f"(?:{'|'.join(re.escape(plain(filler)) for filler in sentence['fillers'])})(?!\\w)"),
        polite=_either(sentence["polite"]),
        asks=_either(sentence["asks"]),
        questions=_either(sentence["questions"]),
        negations=_either(negation["words"]),
        endings=_either(negation["ends"]),
        numbers=content["numbers"],
        fractions={plain(word): share for word, share in content["fractions"].items()},
        refusals=content["refusals"],
        refers={kind: _either(sentences) for kind, sentences in content["refers"].items()},
        ones=frozenset(content["ones"]["words"]),
        units={unit: sorted(map(plain, words), key=len, reverse=True) for unit, words in content["units"].items()},
        concepts=content["concepts"],
        before_texts=_words_first(content["texts"]["fillers"]),
        kinds=_words_first(content["texts"]["kinds"]),
        beside_texts=frozenset(plain(content["texts"]["beside"]).split()),
        never_first=frozenset(plain(content["texts"]["never_first"]).split()),
        idioms=_either(content["places"]["idioms"]),
        steps={
            "before": _either([f"(?:{one})\\s*$" for one in content["steps"]["before"]]),
            "behind": _either([f"\\s*(?:{one})" for one in content["steps"]["behind"]]),
            "value": _either([f"(?:{one})\\s*$" for one in content["steps"]["value"]]),
        },
    )


@dataclass(frozen=True)
class Common:
    """What holds in every language. Concepts are the English words in `Language.concepts`.

    Attributes:
        opposites: pairs of concepts that exclude each other.
        yes, no: concepts that say so of a boolean.
        no_values: values of an enum that say no.
        reading: first words of the names of tools that tell something and change nothing.
        contrasts: pairs of places of which one is not meant where the other is said.
        things, places: concepts that a sentence may be about, and where these may be.
        near: sets of things of which one may be meant where another is said.
        generic: words that no tool can be told by.
        stepping: words of tools that take a number which says by how much.
    """

    opposites: tuple[tuple[str, str], ...]
    yes: frozenset[str]
    no: frozenset[str]
    no_values: frozenset[str]
    reading: frozenset[str]
    generic: frozenset[str]
    stepping: frozenset[str]
    contrasts: tuple[tuple[str, str], ...]
    near: tuple[frozenset[str], ...]
    things: frozenset[str]
    places: frozenset[str]

    def opposite(self, concept: str) -> str:
        """The concept that excludes this one; empty where none does."""
        return next((b if a == concept else a for a, b in self.opposites if concept in (a, b)), "")


@lru_cache(maxsize=1)
def common() -> Common:
    content = tomllib.loads((FOLDER / "common.toml").read_text(encoding="utf-8"))
    pairs = tuple((first, second) for first, second in content["opposites"])
    keys = ("yes", "no", "no_values", "reading", "generic", "stepping", "things", "places")
    contrasts = tuple((first, second) for first, second in content["contrasts"])
    near = tuple(map(frozenset, content["near"]))
    return Common(pairs, contrasts=contrasts, near=near, **{key: frozenset(content[key]) for key in keys})


def languages() -> tuple[Language, ...]:
    """All of them, English first."""
    return tuple(language(code) for code in CODES)


def recognise(text: str) -> Language:
    """The language of a command, by its function words; English where none is said."""
    return likely(text)[0]


def likely(text: str) -> tuple[Language, ...]:
    """The languages that a command may be in, the likeliest first: those with at least half as many of its words."""
    words = words_of(plain(text))
    scores = {spoken.code: _score(spoken, words) for spoken in languages()}
    best = max(scores.values())
    if best == 0:
        return (language("en"),)
    ranked = sorted(scores, key=lambda code: -scores[code])
    return tuple(language(code) for code in ranked if scores[code] * 2 >= best)


def _score(spoken: Language, words: Iterable[str]) -> float:
    """A word that several languages share says less."""
    return sum(1 / _sharing(word) for word in words if word in _vocabulary(spoken.code))


@lru_cache(maxsize=4096)
def _sharing(word: str) -> int:
    return sum(word in _vocabulary(code) for code in CODES)


@lru_cache(maxsize=len(CODES))
def _vocabulary(code: str) -> frozenset[str]:
    """All words that are known of a language."""
    spoken = language(code)
    forms = [form.strip("^$") for table in (spoken.concepts, spoken.units) for row in table.values() for form in row]
    forms += [*spoken.fractions, *(word for row in spoken.numbers.values() for word in row)]
    return spoken.function_words | spoken.ones | {word for form in forms for word in words_of(plain(form))}


def _either(patterns: Iterable[str]) -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{pattern.replace('ß', 'ss')})" for pattern in patterns))


def _words_first(patterns: Iterable[str]) -> re.Pattern[str]:
    """Whole words at the beginning of a text, with more behind them."""
    return re.compile(f"(?:{_either(patterns).pattern})(?:(?<=')|\\s+)(?=\\w)")
