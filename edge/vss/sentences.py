"""Phrases for the tools of a vehicle: patterns of four languages, and what signals are called in them.

A word of a station's phrase file (`[signals]`) goes before those in `languages/`. A tool that has phrases of its own in
a language gets none made in that one.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from lineside.edge.vss.tools import UNITS, VALUE, Verb, choices, offered, tool_name
from lineside.edge.vss.tree import Signal, matching, read_signals
from lineside.edge.vss_config import Spoken, VssConfig

FOLDER = Path(__file__).parent / "languages"
SAID_AS = {
    "degC": ("degC", "degF"),
    "km/h": ("km/h", "mph"),
    "millimeter": ("millimeter", "centimeter", "inch"),
}
"""The units in which people say what a tool takes in another, by pint's names."""
OPENS, SHADES = ("Window", "Sunroof"), ("Shade", "RearShade")
"""Branches whose position in percent is open at 100, or closed."""


@dataclass(frozen=True)
class Sentence:
    """A phrase of a tool; `units` is the unit of its number where that is another than the tool's."""

    tool: str
    text: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Made:
    """What is made in one language."""

    language: Spoken
    path: Path
    sentences: tuple[Sentence, ...]
    words: Mapping[str, Mapping[str, Mapping[str, tuple[str, ...]]]]
    rules: Mapping[str, str]


def made_sentences(vss: VssConfig, file: Path, language: Spoken, own: Mapping[str, Any], taken: frozenset[str]) -> Made:
    """What a station's tools are called by in one language.

    Args:
        file: of the signals.
        own: what the station's phrase files call signals, by path.
        taken: tools that have phrases of their own in this language.

    Raises:
        ConfigError: the file cannot be read.
    """
    table, path = _language(language), FOLDER / f"{language}.toml"
    sentences, words = list[Sentence](), {}
    for verb, signal in offered(vss, read_signals(file)):
        name = tool_name(verb, signal)
        entry = _entry(signal, {**own, **{key: value for key, value in table["signals"].items() if key not in own}})
        if entry is None or name in taken:
            continue
        maker = _Maker(table, signal, *entry)
        sentences += [Sentence(name, *parts) for parts in maker.sentences(verb)]
        if verb == "set" and signal.allowed:
            words[name] = {VALUE: {value: tuple(table["values"].get(value, ())) for value in choices(signal)}}
    return Made(language, path, tuple(sentences), words, table["rules"])


def unheard(vss: VssConfig, file: Path, own: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], str, list[str]]]:
    """What a station calls signals that no sentence is made of: its key, what is wrong, and what there is instead.

    Raises:
        ConfigError: the file cannot be read.
    """
    signals, kinds = dict[str, Signal](), dict[str, list[str]]()
    for verb, signal in offered(vss, read_signals(file)):
        signals[signal.path] = signal
        kinds.setdefault(signal.path, ["noun"]).extend(manner for manner, _ in _manners(signal, verb))
    for pattern, entry in own.items():
        named = matching(pattern, signals)
        if not named:
            yield (pattern,), "`[vss]` offers no such signal", [signal.short for signal in signals.values()]
            continue
        known = list(dict.fromkeys(kind for signal in named for kind in kinds[signal.path]))
        if isinstance(entry, dict):
            for kind in entry.keys() - known:
                yield (pattern, kind), "no sentence is made of it here", known
        elif not isinstance(entry, str) and "ask" not in known:
            yield (pattern,), "whole sentences are for a question, which the signal has none of", known


@lru_cache(maxsize=4)
def _language(code: Spoken) -> dict[str, Any]:
    return tomllib.loads((FOLDER / f"{code}.toml").read_text(encoding="utf-8"))


def _entry(signal: Signal, entries: Mapping[str, Any]) -> tuple[Any, str] | None:
    """What is said of a signal, and the place that the wildcards of its path stand for."""
    for pattern, entry in entries.items():
        if matching(pattern, {signal.path: signal}):
            if "**" in pattern:
                return entry, ""
            parts = pattern.split(".")
            said = signal.path.split(".")[-len(parts) :]
            return entry, ".".join(part for part, key in zip(said, parts, strict=True) if "*" in key)
    return None


@dataclass(frozen=True)
class _Maker:
    """Makes the sentences of one signal: text, arguments and units of each."""

    table: Mapping[str, Any]
    signal: Signal
    entry: Any
    place: str

    def sentences(self, verb: Verb) -> Iterator[tuple[str, dict[str, Any], dict[str, str]]]:
        for manner, arguments in _manners(self.signal, verb):
            for pattern in self._patterns(manner):
                text = self._named(pattern)
                if text:
                    yield from self._with_units(text, arguments)

    def _patterns(self, manner: str) -> list[str]:
        """Sentences of the signal's own, and those that are made with its name."""
        if isinstance(self.entry, list | tuple):
            return [*self.entry] if manner == "ask" else []
        own = self.entry.get(manner, []) if isinstance(self.entry, dict) else []
        return [*([own] if isinstance(own, str) else own), *self.table["patterns"].get(manner, [])]

    def _named(self, pattern: str) -> str:
        """Empty where the pattern asks for a name and there is none."""
        noun = self.entry.get("noun", "") if isinstance(self.entry, dict) else self.entry
        behind = self.table["places"].get(self.place, {}).get("behind", "")
        if "<name>" in pattern and not (isinstance(noun, str) and noun):
            return ""
        return pattern.replace("<name>", self._name(str(noun))).replace("<place>", behind)

    def _name(self, noun: str) -> str:
        article, place = self.table["article"], self.table["places"].get(self.place, {})
        forms = [f"{article} {place['before']}({noun})"] if "before" in place else []
        forms += [f"{article} ({noun}) {place['behind']}"] if "behind" in place else []
        return f"({'|'.join(forms or [f'{article} ({noun})'])})"

    def _with_units(self, text: str, arguments: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any], dict[str, str]]]:
        """The unit may be left out; another one must be said."""
        if "<unit>" not in text:
            yield text, arguments, {}
            return
        units = self.table["units"]
        unit = UNITS.get(self.signal.unit, self.signal.unit)
        yield text.replace("<unit>", f"[{units[unit]}]" if unit in units else ""), arguments, {}
        for other in SAID_AS.get(unit, ()):
            if other != unit:
                yield text.replace("<unit>", f"({units[other]})"), arguments, {VALUE: other}


def _manners(signal: Signal, verb: Verb) -> Iterator[tuple[str, dict[str, Any]]]:
    """Kinds of sentences, and what a call gets by each."""
    leaf, branch = signal.short.split(".")[-1], signal.short.split(".")[-2:-1]
    if verb == "get":
        yield ("is_open" if leaf == "IsOpen" else "is" if signal.datatype == "boolean" else "ask"), {}
    elif signal.datatype == "boolean":
        pairs = {"IsOpen": ("open", "close"), "IsLocked": ("lock", "unlock")}
        yes, no = pairs.get(leaf, ("on", "off"))
        yield yes, {VALUE: True}
        yield no, {VALUE: False}
    elif signal.allowed:
        yield "choice", {}
        yield from ((value, {VALUE: value}) for value in choices(signal))
    elif leaf == "Position" and branch and branch[0] in (*OPENS, *SHADES):
        least, most = max(signal.minimum or 0, 0), signal.maximum
        yield "open", {VALUE: most if branch[0] in OPENS else least}
        yield "close", {VALUE: least if branch[0] in OPENS else most}
        yield "part", {}
    elif signal.is_number:
        yield "number", {}
