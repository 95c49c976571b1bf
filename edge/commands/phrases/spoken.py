"""What was said, brought into the form in which phrases are compared: words in order, nothing else.

Case, accents, umlauts and punctuation make no difference. Words that only make a sentence polite are taken off.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from lineside.edge.commands.phrases import polite
from lineside.edge.commands.phrases.verb_forms import ME, plain_verbs

MAX_CHARACTERS = 300
"""A longer sentence is no phrase."""
TOKEN = re.compile(r"(?<![\w.,])-?\d+(?:[.,]\d+)*|\d+(?:[.,]\d+)*|[^\W\d_]+|[%°?+&/<>=≤≥*^$€£#@]")
BARE_FRACTION = re.compile(r"(?<![\w.,])[.,](?=\d)")
UMLAUT = re.compile("([aou])e")
THOUSANDS = re.compile(r"-?[1-9]\d{0,2}(?:[.,]\d{3})+")
HALVES = (("and", "a", "half"), ("einhalb",), ("et", "demi"), ("et", "demie"), ("y", "medio"), ("y", "media"))
DEGREES = frozenset(("degrees", "degree", "grad", "degres", "degre", "grados", "grado", "°"))
Span = tuple[int, int]
PLAIN = str.maketrans({"’": "'", "‘": "'", "−": "-", "–": "-", "ß": "ss", "œ": "oe", "æ": "ae", "º": "°"})


@dataclass(frozen=True)
class Said:
    """A sentence as words. `spans` are the places of each word in `text`, which is as it was said."""

    text: str
    words: tuple[str, ...]
    spans: tuple[Span, ...]

    @property
    def folded(self) -> str:
        return " ".join(self.words)

    def original(self, first: int, last: int) -> str:
        """What was said from word `first` to before word `last`."""
        return self.text[self.spans[first][0] : self.spans[last - 1][1]] if first < last else ""

    def part(self, first: int, last: int) -> Said:
        return Said(self.text, self.words[first:last], self.spans[first:last])

    def without(self, taken: set[int]) -> Said:
        kept = [index for index in range(len(self.words)) if index not in taken]
        return Said(self.text, tuple(self.words[i] for i in kept), tuple(self.spans[i] for i in kept))


@dataclass(frozen=True)
class Sentence:
    """A sentence without what makes it polite."""

    variants: tuple[Said, ...]
    """As it is, then without fillers inside it, then with umlauts for "ae", "oe" and "ue", then with a plain verb."""
    longer: tuple[Said, ...]
    """With what makes it polite or urgent, from all of it to the least, then without "please": a phrase may have such
    words itself."""
    is_question: bool
    """It ends with a question mark, and is no polite request."""

    @property
    def said(self) -> Said:
        return self.variants[0]


def fold_word(word: str) -> str:
    """Without case and accents."""
    return "".join(c for c in unicodedata.normalize("NFKD", word.casefold()) if not unicodedata.combining(c))


def hear(text: str) -> Said:
    """The words of a sentence; numbers as digits with a point, `21.5`."""
    plain = re.sub(r"(?<=\d)\s?½", ".5", unicodedata.normalize("NFC", text).translate(PLAIN))
    plain = BARE_FRACTION.sub("0.", plain)
    words, spans = list[str](), list[Span]()
    for match in TOKEN.finditer(plain):
        token = match[0]
        words.append(_number(token) if token.lstrip("-")[0].isdigit() else fold_word(token))
        spans.append(match.span())
    return Said(plain, *_with_halves(words, spans))


def _with_halves(words: list[str], spans: list[Span]) -> tuple[tuple[str, ...], tuple[Span, ...]]:
    """`21 and a half` is 21.5, and `veintidos grados y medio` the same as `veintidos y medio grados`."""
    at = 0
    while at < len(words):
        half = next((half for half in HALVES if tuple(words[at + 1 : at + 1 + len(half)]) == half), ())
        end = at + 1 + len(half)
        if half and words[at].isdigit():
            words[at:end], spans[at:end] = [f"{words[at]}.5"], [(spans[at][0], spans[end - 1][1])]
        elif half and words[at] in DEGREES and at:
            words[at:end], spans[at:end] = [*half, words[at]], [*spans[at + 1 : end], spans[at]]
            at = max(at - 2, -1)
        at += 1
    return tuple(words), tuple(spans)


def _number(token: str) -> str:
    """`1,000` is a thousand: never one."""
    if THOUSANDS.fullmatch(token):
        return re.sub("[.,]", "", token)
    return token.replace(",", ".") if token.count(",") + token.count(".") == 1 else token


def understand(text: str) -> Sentence:
    """Take politeness off, and say whether something was asked rather than wanted."""
    said = hear(text)
    ends_with_mark = bool(said.words) and said.words[-1] == "?"
    said = said.without({index for index, word in enumerate(said.words) if word == "?"})
    is_request, minds, longer = False, False, list[Said]()
    while True:
        longer.append(said)
        count, asks = _leading(said.words)
        if count:
            minds = minds or said.words[count - 1] == "mind"
            said, is_request = said.part(count, len(said.words)), is_request or asks
            continue
        count, asks = _trailing(said.words)
        if not count:
            break
        said, is_request = said.part(0, len(said.words) - count), is_request or asks
    variants = [said, _plainer(said)]
    variants += [Said(v.text, tuple(UMLAUT.sub(r"\1", word) for word in v.words), v.spans) for v in variants]
    asked = [found for said in variants for found in _with_plain_verb(said, minds)]
    is_request = is_request or any(said.words[0] in ME for said in variants if asked)
    kept = [*longer[:-1], *(_plainer(said, polite.COURTESY) for said in longer)]
    longer = [said for said in dict.fromkeys(kept) if said != variants[0]]
    return Sentence(tuple(dict.fromkeys([*variants, *asked])), tuple(longer), ends_with_mark and not is_request)


def _with_plain_verb(said: Said, minds: bool) -> Iterator[Said]:
    """`Schalten Sie`, `me abres`, `ouvre-moi` as `schalte`, `abre`, `ouvre`."""
    for words in plain_verbs(said.words, after_mind=minds):
        fewer = len(said.words) - len(words)
        yield Said(said.text, words, (said.spans[0], *said.spans[1 + fewer :]))


def _leading(words: tuple[str, ...]) -> tuple[int, bool]:
    """How many words at the beginning are politeness, and whether they ask for something to be done."""
    for table, asks in (
        (_table(polite.REQUESTS), True),
        (_table(polite.PLEASE), True),
        (_table(f"{polite.GREETINGS}|{polite.URGENCY}"), False),
    ):
        if count := _longest(words, table, at_end=False):
            return count, asks
    return 0, False


def _trailing(words: tuple[str, ...]) -> tuple[int, bool]:
    for table, asks in ((_table(f"{polite.PLEASE}|{polite.ENDINGS}"), True), (_table(polite.URGENCY), False)):
        if count := _longest(words, table, at_end=True):
            return count, asks
    return 0, False


def _longest(words: tuple[str, ...], table: frozenset[tuple[str, ...]], *, at_end: bool) -> int:
    """Something must be left of the sentence."""
    for count in range(min(6, len(words) - 1), 0, -1):
        if (words[-count:] if at_end else words[:count]) in table:
            return count
    return 0


def places_of(words: tuple[str, ...], entries: str) -> set[int]:
    """Where one of the entries of `polite` stands, of several the longest."""
    table, taken, at = _table(entries), set[int](), 0
    while at < len(words):
        count = next((n for n in (4, 3, 2, 1) if words[at : at + n] in table and at + n <= len(words)), 0)
        taken |= set(range(at, at + count))
        at += count or 1
    return taken


def _plainer(said: Said, entries: str = f"{polite.PLEASE}|{polite.URGENCY}") -> Said:
    """Without "please", "now" and small words, wherever they stand: "mach doch bitte mal das Licht aus"."""
    taken = places_of(said.words, entries)
    return said.without(taken) if taken and len(taken) < len(said.words) else said


@cache
def _table(text: str) -> frozenset[tuple[str, ...]]:
    return frozenset(hear(entry).words for entry in text.replace("\n", "").split("|"))
