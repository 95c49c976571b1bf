"""What a station declares: phrases and words of the station file and of its phrase files, one file a language."""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from pydantic.dataclasses import dataclass as checked

from lineside.edge.config import Config
from lineside.edge.errors import ConfigError
from lineside.edge.mistakes import hint, nearest
from lineside.edge.toml_file import read_toml
from lineside.edge.toml_lines import key_lines, place
from lineside.edge.tool_config import STRICT, PhraseConfig

Language = Literal["en", "de", "fr", "es"]
Words = Mapping[str, Mapping[str, tuple[str, ...]]]
"""For each argument, what its values are called."""
EVERY_LANGUAGE: tuple[Language, ...] = ("en", "de", "fr", "es")
NO_TOOL = ""
"""In place of a tool: the phrase asks for what no tool does."""
MAX_PHRASES = 20_000
MAX_FORMS, MAX_DEPTH = 20, 10
MOST_NAMED = 40
"""Tools or signals that a mistake names."""
RULE = re.compile(r"<([^<>]*)>")


@checked(frozen=True, config=STRICT)
class PhraseFile:
    """A file of `commands.phrase_files`."""

    language: Language
    """The language of its sentences, and of the number words in them."""
    phrases: dict[str, tuple[str | PhraseConfig, ...]] = field(default_factory=dict)
    """For a tool's name, sentences that call it."""
    words: dict[str, dict[str, dict[str, tuple[str, ...]]]] = field(default_factory=dict)
    """For a tool's name and one of its arguments, what people call its values in this language."""
    rules: dict[str, str] = field(default_factory=dict)
    """Parts of sentences that others name as `<rule>`."""
    no_tool: tuple[str, ...] = ()
    """Sentences that ask for what no tool does: they are refused, and never put to the model."""
    signals: dict[str, str | tuple[str, ...] | dict[str, str | tuple[str, ...]]] = field(default_factory=dict)
    """What signals of `[vss]` are called, by path: see `docs/vehicle.md`."""


@dataclass(frozen=True)
class Phrase:
    """One declared sentence, and where it stands."""

    tool: str
    text: str
    source: str
    """The path of the file."""
    key: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)

    @property
    def place(self) -> str:
        line = line_of_text(Path(self.source), self.text)
        return f"{self.source}{f':{line}' if line else ''}: `{self.key}`"


@dataclass(frozen=True)
class Source:
    """The phrases of one file."""

    path: Path
    languages: tuple[Language, ...]
    phrases: tuple[Phrase, ...]
    words: Mapping[str, Words]
    rules: Mapping[str, str] = field(default_factory=dict)


def sources(config: Config) -> list[Source]:
    """The station file, of whose phrases nobody knows the language, then the phrase files.

    Raises:
        ConfigError: a phrase file cannot be read or has a mistake, or there are too many phrases.
    """
    inline = tuple(
        phrase
        for name, tool in config.tools.items()
        for phrase in _phrases(tool.phrases, name, str(config.file), f"tools.{name}.phrases")
    )
    words = {name: tool.words for name, tool in config.tools.items() if tool.words}
    found = [Source(config.file, EVERY_LANGUAGE, inline, words)]
    files = {config.resolve(entry): _read(config.resolve(entry)) for entry in config.commands.phrase_files}
    if problems := [problem for path, file in files.items() for problem in _not_offered(path, file, config)]:
        raise ConfigError("\n".join(problems))
    found += [_source(path, file, words) for path, file in files.items()]
    if config.vss.file:
        found += _of_vehicle(config, list(files.values()))
    if (count := sum(len(source.phrases) for source in found)) > MAX_PHRASES:
        raise ConfigError(f"{config.file}: {count} phrases are declared, {MAX_PHRASES} are taken: join some by ( | )")
    return found


def _of_vehicle(config: Config, files: Sequence[PhraseFile]) -> Iterator[Source]:
    """Phrases that are made for signals, in the languages of `vss.languages`."""
    from lineside.edge.vss.sentences import made_sentences

    inline = {name for name, tool in config.tools.items() if tool.phrases}
    for language in config.vss.languages:
        same = [file for file in files if file.language == language]
        taken = inline.union(*(file.phrases for file in same))
        own = {path: entry for file in same for path, entry in file.signals.items()}
        made = made_sentences(config.vss, config.resolve(config.vss.file), language, own, frozenset(taken))
        phrases = [
            Phrase(each.tool, each.text, str(made.path), "vss", each.arguments, each.units) for each in made.sentences
        ]
        yield Source(made.path, (language,), tuple(phrases), made.words, made.rules)


def plain_words(config: Config) -> dict[str, dict[str, dict[str, tuple[str, ...]]]]:
    """As `declared_words`, with each form of a word such as `rot[e|es]` on its own."""
    return {
        tool: {
            argument: {value: tuple(form for word in words for form in _forms(word)) for value, words in values.items()}
            for argument, values in arguments.items()
        }
        for tool, arguments in declared_words(config).items()
    }


def plain_sentences(config: Config) -> dict[str, tuple[str, ...]]:
    """For each tool its phrases, with the rules that they name in their place."""
    found: dict[str, list[str]] = {}
    for source in sources(config):
        for phrase in source.phrases:
            if phrase.tool != NO_TOOL:
                found.setdefault(phrase.tool, []).append(_with_rules(phrase.text, source.rules))
    return {tool: tuple(texts) for tool, texts in found.items()}


def example(phrase: str) -> str:
    """A phrase without what may be left out, the first of several ways: `set belt to {percent}`."""
    before = ""
    while before != phrase:
        before = phrase
        phrase = re.sub(r"\[[^\[\]]*\]", "", phrase)
        phrase = re.sub(r"\(([^()|]*)[^()]*\)", r"\1", phrase)
    return " ".join(phrase.split())


def _forms(word: str) -> Iterator[str]:
    if not re.search(r"[\[(]", word):
        yield word
        return
    from hassil.parse_expression import parse_sentence
    from hassil.sample import sample_sentence

    yield from itertools.islice(sample_sentence(parse_sentence(word)), MAX_FORMS)


def _with_rules(text: str, rules: Mapping[str, str], depth: int = 0) -> str:
    if depth > MAX_DEPTH:
        return text
    return RULE.sub(lambda rule: _with_rules(rules.get(rule[1], ""), rules, depth + 1), text)


def declared_words(config: Config) -> dict[str, dict[str, dict[str, tuple[str, ...]]]]:
    """For each tool, argument and value, every word for it in any language."""
    found: dict[str, dict[str, dict[str, tuple[str, ...]]]] = {}
    for source in sources(config):
        for tool, arguments in source.words.items():
            for argument, values in arguments.items():
                there = found.setdefault(tool, {}).setdefault(argument, {})
                for value, words in values.items():
                    there[value] = tuple(dict.fromkeys((*there.get(value, ()), *words)))
    return found


def _not_offered(path: Path, file: PhraseFile, config: Config) -> Iterator[str]:
    """What a file says of tools and signals that the station does not offer: nobody would hear it."""
    lines = key_lines(path.read_text(encoding="utf-8-sig"))
    for section, names in (("phrases", file.phrases), ("words", file.words)):
        for name in names:
            if name not in config.tools:
                said = f"the station has no tool {name}; it has {_some(name, config.tools)}"
                yield f"{place(path, lines, (section, name))}: `{section}.{name}`: {said}"
    if not file.signals:
        return
    if not config.vss.file:
        yield f"{place(path, lines, ('signals',))}: `signals`: the station offers none; name them in `[vss]`"
        return
    if file.language not in config.vss.languages:
        said = f"they are in {file.language}, and `vss.languages` has {', '.join(config.vss.languages) or 'none'}"
        yield f"{place(path, lines, ('signals',))}: `signals`: {said}"
    from lineside.edge.vss.sentences import unheard

    for key, wrong, there in unheard(config.vss, config.resolve(config.vss.file), file.signals):
        key = ("signals", *key)
        yield f"{place(path, lines, key)}: `{'.'.join(key)}`: {wrong}; there is {_some(key[-1], there)}"


def _some(said: str, there: Collection[str]) -> str:
    """A few of what there is, and what was probably meant."""
    more = f" and {len(there) - MOST_NAMED} more" if len(there) > MOST_NAMED else ""
    meant = nearest(said, there)
    return (", ".join(list(there)[:MOST_NAMED]) or "none") + more + hint(meant)


def _source(path: Path, file: PhraseFile, inline: Mapping[str, Words]) -> Source:
    """Words of the station file hold in every language."""
    phrases = [
        phrase
        for name, entries in file.phrases.items()
        for phrase in _phrases(entries, name, str(path), f"phrases.{name}")
    ]
    phrases += [Phrase(NO_TOOL, text, str(path), "no_tool") for text in file.no_tool]
    words = {
        tool: _joined(inline.get(tool, {}), file.words.get(tool, {})) for tool in dict.fromkeys((*inline, *file.words))
    }
    return Source(path, (file.language,), tuple(phrases), words, file.rules)


def _joined(first: Words, second: Words) -> Words:
    return {
        argument: {
            value: (*first.get(argument, {}).get(value, ()), *second.get(argument, {}).get(value, ()))
            for value in dict.fromkeys((*first.get(argument, {}), *second.get(argument, {})))
        }
        for argument in dict.fromkeys((*first, *second))
    }


def _phrases(entries: tuple[str | PhraseConfig, ...], tool: str, source: str, key: str) -> Iterator[Phrase]:
    for entry in entries:
        if isinstance(entry, str):
            yield Phrase(tool, entry, source, key)
        else:
            common = Phrase(tool, "", source, key, entry.arguments, entry.units)
            texts = (entry.say,) if isinstance(entry.say, str) else entry.say
            yield from (replace(common, text=text) for text in texts)


def _read(path: Path) -> PhraseFile:
    try:
        return read_toml(path, PhraseFile)
    except OSError as error:
        raise ConfigError(f"`commands.phrase_files`: {path} cannot be read ({error.strerror})") from error


def line_of_text(path: Path, text: str) -> int:
    """The first line of a file that has the text, from 1; 0 where it is written in another way there."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError):
        return 0
    return next((number for number, line in enumerate(lines, 1) if f'"{text}"' in line or f"'{text}'" in line), 0)
