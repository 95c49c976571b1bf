"""What says yes and what says no: of booleans, of values such as `off`, of whole tools."""

from __future__ import annotations

import re

from lineside.runtime.commands.concepts import concepts, split_name
from lineside.runtime.commands.declared import Declared
from lineside.runtime.commands.heard import Heard
from lineside.runtime.commands.language import common, language, likely, plain, words_of

POWER_ON = frozenset({"on", "open", "start", "enable", "play"})
POWER_OFF = frozenset({"off", "close", "stop", "disable", "pause"})
SAYS_ON = frozenset({"on", "start", "enable"})
SAYS_OFF = frozenset({"off", "stop", "disable"})


def says_no(value: object) -> bool:
    """Whether a value of a boolean or an enum says no: false, 0, `off`, `none`."""
    if isinstance(value, str):
        return split_name(value) in common().no_values
    return value is False or (value == 0 and not isinstance(value, bool))


def off_said(heard: Heard, value: str) -> bool:
    """Whether a value such as `off` was said by another word for it, or by denying that something goes on."""
    if split_name(value) not in common().no_values:
        return False
    if heard.negation is not None and heard.ends:
        return True
    closing = split_name(value) in ("closed", "close", "shut")
    return bool(heard.concepts & ({"close"} if closing else SAYS_OFF))


def bool_said(heard: Heard, declared: Declared, parameter: str, value: bool) -> bool:
    """Whether a boolean's value was said: by the parameter's own name, or by a word that says yes or no of it."""
    yes, no = _words(declared, parameter)
    on, off = bool(heard.concepts & yes), bool(heard.concepts & no)
    if heard.negation is not None and heard.ends:
        return value is False
    if on != off:
        return on if value else off
    return value and not off and _own_name_said(heard, parameter)


def _words(declared: Declared, parameter: str) -> tuple[frozenset[str], frozenset[str]]:
    """Concepts that say true, and those that say false."""
    english = language("en")
    named = concepts(split_name(parameter), english)
    about = named or concepts(f"{split_name(declared.name)} {declared.tool.description}", english)
    for yes, no in common().opposites:
        if no in named and yes not in named:  # `closed = true`
            return frozenset({no}), frozenset({yes})
    special = {pair for pair in common().opposites if set(pair) & about}
    power = POWER_ON | {yes for yes, _ in special}
    return frozenset(power | {"yes"}), frozenset(POWER_OFF | {no for _, no in special})


def _own_name_said(heard: Heard, parameter: str) -> bool:
    """`urgent` of `it is urgent`, `only_failures` of `only failures`."""
    words = [word for word in words_of(plain(split_name(parameter))) if word not in ("is", "the", "value", "a")]
    return bool(words) and all(heard.says(word) for word in words)


def contradiction(heard: Heard, declared: Declared) -> str:
    """The concept that was said where the tool's name stands for its opposite; empty where there is none."""
    said, name = heard.concepts, split_name(declared.name)
    description = plain(declared.tool.description)
    spoken = likely(description)[0]
    about = concepts(name, language("en")) | concepts(description, spoken)
    first_said = concepts(name, language("en")) | concepts(re.split(r"[,.;:]", description)[0], spoken)
    for first, second in common().opposites:
        for mine, other in ((first, second), (second, first)):
            if mine in first_said and other not in about and other in said and mine not in said:
                return other
    for ours, theirs in ((POWER_ON, POWER_OFF | {"lock"}), (POWER_OFF, POWER_ON | {"unlock"})):
        if first_said & ours and not about & theirs and said & theirs and not said & ours:
            return min(said & theirs)
    return ""
