"""The conversations of the parity cases."""

from __future__ import annotations

import numpy as np

from lineside.runtime.chat import Message, Picture, Prompt
from lineside.runtime.text.tokenizer import Tokenizer

PROMPTS = ("text", "picture", "two_pictures", "second_turn")


def pictures() -> list[Picture]:
    """Not square, and of different sizes."""
    rng = np.random.default_rng(7)
    return [rng.integers(0, 256, size=(h, w, 3), dtype=np.uint8) for h, w in ((90, 200), (300, 120))]


def prompts(tokenizer: Tokenizer) -> dict[str, Prompt]:
    """Text only; one picture; two pictures; a picture in the second turn."""
    wide, tall = pictures()
    system = Message("system", ("Inspect the part.",))
    first = [system, Message("user", ("Hello there.",)), Message("assistant", ("Show me.",))]
    conversations = {
        "text": [system, Message("user", ("Is the belt running?",))],
        "picture": [system, Message("user", (wide, "Is it good?"))],
        "two_pictures": [Message("user", ("Compare:", wide, "and", tall))],
        "second_turn": [*first, Message("user", (tall, "Here it is."))],
    }
    return {name: tokenizer.encode_chat(messages) for name, messages in conversations.items()}
