"""Whether a call may follow from a sentence that denies: only where it is the opposite of what is denied."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lineside.runtime.commands.declared import Declared
from lineside.runtime.commands.heard import Heard
from lineside.runtime.commands.language import plain
from lineside.runtime.commands.polarity import POWER_OFF, says_no
from lineside.runtime.commands.retrieval import Ranking


def denies(heard: Heard, quoted: Sequence[str]) -> bool:
    """Whether the sentence denies, other than within a text that the call quotes: `play Don't Stop Me Now`.

    Where the quotation begins with the sentence, the sentence itself denies.
    """
    if heard.negation is None:
        return False
    said = plain(heard.text)
    begin = len(said) - len(heard.language.bare(heard.text))
    for text in quoted:
        at = said.find(plain(text))
        if at > begin and at <= heard.negation[0] and heard.negation[1] <= at + len(plain(text)):
            return heard.language.negation(said[:at] + said[at + len(plain(text)) :]) is not None
    return True


def is_opposite(heard: Heard, declared: Declared, arguments: Mapping[str, Any], ranking: Ranking) -> bool:
    """Whether a call is, by declaration, the opposite of what the sentence denies.

    Either its tool undoes another, which the sentence fits better; or the sentence wants something to end (`don't
    leave it on`, `no more`), and a boolean or an enum says no that was not itself denied (`don't turn it off`).
    """
    other = declared.opposite
    if other and ranking.scores.get(other, 0.0) > ranking.scores.get(declared.name, 0.0):
        return True
    if not heard.ends or heard.concepts & POWER_OFF:
        return False
    properties = declared.properties
    return any(
        says_no(value) and (isinstance(value, bool) or "enum" in properties.get(name, {}))
        for name, value in arguments.items()
    )
