"""Words that no model has learnt by heart: what is to be copied letter by letter into an argument."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

VOWELS, CONSONANTS = "aeiouy", "bcdfghjklmnprstvwxz"
ENDINGS = ("son", "ville", "berg", "ini", "ov", "ez", "ton", "ia", "ska", "er", "mann", "ette", "o", "as", "")
LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ"
TITLE_ODDS, WORD_ODDS, CODE_ODDS = 0.4, 0.85, 0.5


def text(known: Sequence[str], rng: np.random.Generator) -> str:
    """A name, a title or a code: invented words, or words of the `known` texts in a new order."""
    draw = rng.random()
    if draw < 0.15:
        return code(rng)
    if draw < 0.45:
        return " ".join(name(rng) for _ in range(int(rng.integers(1, 4))))
    words = [w for _ in range(3) for w in known[int(rng.integers(len(known)))].split()]
    picked = [str(rng.choice(words)) if rng.random() < WORD_ODDS else name(rng) for _ in range(int(rng.integers(1, 6)))]
    return " ".join(word.capitalize() for word in picked) if rng.random() < TITLE_ODDS else " ".join(picked)


def name(rng: np.random.Generator) -> str:
    """An invented word of two to four syllables."""
    count = int(rng.integers(1, 4))
    syllables = [f"{rng.choice(list(CONSONANTS))}{rng.choice(list(VOWELS))}" for _ in range(count)]
    word = f"{''.join(syllables)}{rng.choice(list(CONSONANTS))}{rng.choice(ENDINGS)}"
    return word.capitalize() if rng.random() < 0.6 else word


def code(rng: np.random.Generator) -> str:
    """Such as K-4711, 2291 or abc20."""
    letters = "".join(rng.choice(list(LETTERS), size=int(rng.integers(0, 4))))
    digits = str(int(rng.integers(1, 10 ** int(rng.integers(1, 6)))))
    whole = f"{letters}{rng.choice(['-', '', ' '])}{digits}" if letters else digits
    return whole.lower() if rng.random() < 1 - CODE_ODDS else whole
