"""What is guessed, and what is never a guess."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lineside.runtime.chat import Message
from lineside.runtime.engine.drafts import Drafter
from lineside.runtime.engine.engine import Engine
from lineside.runtime.engine.sampling import GREEDY

PICTURE_KEYS = (-1, -(2**31) - 5, -1 - 2**55)
"""Of three pictures: keys are negative and may have 56 bits."""
WRAPPING = -(2**32) + 107
"""Of a picture whose key, cut to 32 bits, is the token 107."""


def drafter(*keys: int) -> Drafter:
    return Drafter(np.asarray(keys, np.int64))


def test_what_followed_the_same_words_is_guessed() -> None:
    assert drafter(1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4).propose(None, 30) == [5, 6, 7, 8]
    assert drafter(3, 4, 5, 6, 7, 9, 3, 4).propose(None, 2) == [5, 6]
    assert drafter(1, 2, 3, 4, 5, 6).propose(None, 30) == []


def test_a_picture_is_never_a_guess() -> None:
    """Its tokens have embeddings of their own, which a draft cannot carry: the guess ends before it."""
    for picture in (*PICTURE_KEYS, WRAPPING):
        assert drafter(1, 2, 3, 4, 5, picture, picture, 6, 1, 2, 3, 4).propose(None, 30) == [5]
        assert drafter(1, 2, 3, 4, picture, picture, 6, 1, 2, 3, 4).propose(None, 30) == []


def test_a_guess_begins_where_a_token_does() -> None:
    """The bytes of 256, 256 stand within those of 1, 1, 1, one byte beside the tokens."""
    assert drafter(1, 1, 1, 9, 9, 256, 256).propose(None, 30) == []
    assert drafter(256, 256, 9, 9, 7, 256, 256).propose(None, 30) == [9, 9, 7, 256]


def test_words_before_a_picture_are_said_again_without_it(float_engine: Engine) -> None:
    """The answer goes on behind the words that stood before the picture: with drafts as without."""
    rng = np.random.default_rng(3)
    picture: npt.NDArray[np.uint8] = rng.integers(0, 255, (56, 84, 3), dtype=np.uint8)
    prompt = float_engine.tokenizer.encode_chat([Message("user", ("Compare this part with", picture, "the other."))])
    first = int(np.flatnonzero(prompt.ids == float_engine.bundle.manifest.image_token_id)[0])
    answers = []
    for draft in (True, False):
        with float_engine.sequence(prompt, reserve=60) as sequence:
            sequence.extend(prompt.ids[first - 5 : first - 1])
            sequence.hold(int(prompt.ids[first - 1]))
            answers.append(float_engine.generate(sequence, max_tokens=40, sampling=GREEDY, draft=draft).ids)
    assert answers[0] == answers[1]
    assert len(answers[0]) == 40
