"""Phrases as `hassil` matches them: groups of templates with the same tool and fixed arguments, and lists for slots."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hassil.expression import Expression, TextChunk
from hassil.expression import Group as Items
from hassil.expression import Sentence as Template
from hassil.intents import Intent, IntentData, Intents, SlotList, TextSlotList, TextSlotValue, WildcardSlotList
from hassil.parse_expression import parse_sentence
from hassil.recognize import RecognizeResult, recognize_all
from hassil.util import match_first, match_start

from lineside.edge.commands.phrases.arguments import Argument, Conversion, arguments_of, text_of
from lineside.edge.commands.phrases.index import Index
from lineside.edge.commands.phrases.number_words import DIGITS, FEW, MANY, MINUS, number_lists, number_words
from lineside.edge.commands.phrases.templates import TemplateError, check_brackets, rewrite, rules_used, slot_names
from lineside.edge.phrase_files import NO_TOOL, Language, Words
from lineside.edge.tool_config import ToolConfig

ANYTHING = "_anything"
MAX_WARM = 2000
"""Literal texts whose patterns are made at the start: `hassil` keeps no more than four times as many."""
MINUS_WORDS = "(minus|negative|moins|menos)"


@dataclass(frozen=True)
class Group:
    """Templates that lead to the same call."""

    tool: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    conversions: Mapping[str, Conversion] = field(default_factory=dict)
    languages: tuple[Language, ...] = ()
    is_question: bool = False
    is_ours: bool = True
    """Declared by the station, and not one of Home Assistant's own."""
    widened: str = ""
    """The argument whose slot takes any words, to say which values there are."""


@dataclass(frozen=True)
class Slots:
    """Which list stands in the place of a slot: for one tool, in one file."""

    tool: str
    arguments: Mapping[str, Argument]
    languages: tuple[Language, ...]
    words: Words
    prefix: str
    """What names the lists of this tool and file apart from others."""

    def list_name(self, argument: str) -> str:
        return f"{self.prefix}/{argument}"

    def put(self, name: str, widened: str = "") -> str:
        """What stands in a template for `{name}`. Raises TemplateError where it is no argument."""
        argument = self.arguments.get(name)
        if self.tool == NO_TOOL and name == "any":
            return f"{{{ANYTHING}:_any}}"
        if argument is None:
            known = ", ".join(self.arguments) or "none"
            raise TemplateError(f"{{{name}}} is no argument of {self.tool} that a slot can have; it has {known}")
        if argument.kind == "text" or name == widened:
            return f"{{{ANYTHING}:{name}}}"
        if argument.kind == "choice":
            if not self.choices(argument):
                key = f"[tools.{self.tool}.words.{name}]"
                raise TemplateError(f"nothing says what people call the values of {{{name}}}: add {key}")
            return f"{{{self.list_name(name)}:{name}}}"
        parts = [f"{{{DIGITS}:{name}}}", f"{MINUS_WORDS} {{{MINUS}:{name}}}"]
        parts += [f"{{_words_{language}:{name}}}" for language in self.languages]
        parts += [f"{{{self.list_name(name)}:{name}}}"] if self.words.get(name) else []
        return f"({'|'.join(parts)})"

    def choices(self, argument: Argument) -> list[tuple[str, Any]]:
        """Words and the value of each; an enum's own names are words for it."""
        words = self.words.get(argument.name, {})
        if argument.kind == "number":
            return [(word, float(value)) for value, said in words.items() for word in said]
        named = (
            [] if argument.is_flag else [(text.replace("_", " "), value) for text, value in argument.choices.items()]
        )
        return named + [(word, value) for text, value in argument.choices.items() for word in words.get(text, ())]

    def problems(self) -> Iterable[str]:
        """What is wrong with the words."""
        for name, values in self.words.items():
            key = f"words.{self.tool}.{name}"
            argument = self.arguments.get(name)
            if argument is None or argument.kind == "text":
                known = ", ".join(a.name for a in self.arguments.values() if a.kind != "text") or "none"
                yield f"`{key}`: words are for arguments with an enum, numbers, or true and false: {known}"
                continue
            for value in values:
                if argument.kind == "choice" and value not in argument.choices:
                    yield f"`{key}.{value}`: no such value; there are {', '.join(argument.choices)}"
                elif argument.kind == "number" and not _is_number(value):
                    yield f"`{key}.{value}`: the values of {name} are numbers"

    def lists(self) -> dict[str, SlotList]:
        found: dict[str, SlotList] = {}
        for argument in self.arguments.values():
            if argument.kind != "text" and (choices := self.choices(argument)):
                name = self.list_name(argument.name)
                found[name] = word_list(name, choices)
        return found


class Compiled:
    """Every group, and what matches them.

    Args:
        largest: the largest number that an argument may be.
    """

    def __init__(self, largest: float) -> None:
        self._up_to = FEW if largest <= FEW else MANY
        self.groups: list[Group] = []
        self._data: list[list[IntentData]] = []
        self._stand_ins: dict[str, str] = {}
        self.written: dict[str, str] = {}
        """For a template as it is compared, the phrase as it is declared."""
        self.lists: dict[str, SlotList] = number_lists() | {ANYTHING: WildcardSlotList(ANYTHING)}

    def add(self, group: Group, templates: Sequence[Template], rules: Mapping[str, Template]) -> None:
        shared, members = dict(rules), []
        for template in templates:
            data = IntentData([template.text or ""], expansion_rules=shared, wildcard_list_names={ANYTHING})
            vars(data)["sentences"] = [template]  # a cached property, which would parse it again
            template.get_required_clauses(shared)
            members.append(data)
        self.groups.append(group)
        self._data.append(members)
        written = [text.text or "" for text in (*templates, *rules.values())]
        for language in group.languages:
            if any(f"{{_words_{language}:" in text for text in written):
                self.lists[f"_words_{language}"] = number_words(language, self._up_to)

    def rules(self, index: int) -> Mapping[str, Template]:
        return self._data[index][0].expansion_rules

    def matcher(self, *, widened: bool) -> Matcher:
        """What matches a sentence, or what says which values there are."""
        chosen = [
            (group, data)
            for group, members in zip(self.groups, self._data, strict=True)
            if bool(group.widened) == widened
            for data in members
        ]
        return Matcher(chosen, self.lists)

    def warm_up(self) -> None:
        """Make what `hassil` would make at the first use: the index of each list, a pattern for each literal text."""
        for known in self.lists.values():
            if isinstance(known, TextSlotList):
                known.get_candidates("0")
        rules = {id(rule): rule for members in self._data for rule in members[0].expansion_rules.values()}
        templates = (*(data.sentences[0] for members in self._data for data in members), *rules.values())
        literals = dict.fromkeys(text for template in templates for text in _literals(template.expression))
        for text in itertools.islice(literals, MAX_WARM):
            for chunk in {text, text.lstrip()}:
                match_start("0", chunk)
                match_first("0", chunk, start_of_word=True)

    def stands_for(self, list_name: str) -> str:
        """The same text for lists that take the same words."""
        known = self.lists[list_name]
        if list_name.startswith((DIGITS, MINUS, "_words_")):
            return "{number}"
        if not isinstance(known, TextSlotList):
            return "{any}"
        if list_name not in self._stand_ins:
            words = sorted(value.text_in.text for value in known.values if isinstance(value.text_in, TextChunk))
            self._stand_ins[list_name] = f"{{{'|'.join(words)}}}"
        return self._stand_ins[list_name]


class Matcher:
    """Templates of the same kind, tried where their words are those of a sentence."""

    def __init__(self, templates: Sequence[tuple[Group, IntentData]], lists: Mapping[str, SlotList]) -> None:
        self.groups = [group for group, _ in templates]
        self._intents = [Intent(str(place), [data]) for place, (_, data) in enumerate(templates)]
        self._lists = dict(lists)
        self._index = Index(lists)
        for place, (_, data) in enumerate(templates):
            self._index.add(place, data.sentences[0], data.expansion_rules)

    def __len__(self) -> int:
        return len(self._intents)

    def literal_words(self) -> dict[str, set[str]]:
        """For each word of a template, the tools that say it."""
        found: dict[str, set[str]] = {}
        for group, intent in zip(self.groups, self._intents, strict=True):
            (data,) = intent.data
            for template in (data.sentences[0], *data.expansion_rules.values()):
                for text in _literals(template.expression):
                    for word in text.split():
                        found.setdefault(word, set()).add(group.tool)
        return found

    def match(self, words: Sequence[str], missing: int = 0) -> Iterator[tuple[Group, RecognizeResult]]:
        """Every way in which the words are a sentence; up to `missing` of them may be any."""
        places = self._index.all_but(words, missing) if missing else self._index.all_words(words)
        intents = Intents("en", {str(place): self._intents[place] for place in places}, self._lists)
        for result in recognize_all(" ".join(words), intents):
            yield self.groups[int(result.intent.name)], result


def tool_slots(
    name: str, tool: ToolConfig, languages: tuple[Language, ...], words: Words, prefix: str
) -> tuple[Slots, list[str]]:
    """The slots of a tool in one file, and what is wrong with its words."""
    slots = Slots(name, arguments_of(tool), languages, words, f"{prefix}/{name}")
    problems = list(slots.problems())
    return (Slots(name, slots.arguments, languages, {}, slots.prefix) if problems else slots), problems


def compile_rules(rules: Mapping[str, str], put: Callable[[str], str]) -> dict[str, Template]:
    """The rules, with what `put` gives in the place of each slot. Raises TemplateError."""
    return {name: parse_sentence(rewrite(body, put), keep_text=True) for name, body in rules.items()}


def word_list(name: str, choices: Iterable[tuple[str, Any]]) -> TextSlotList:
    """A list of words, folded; each may be a template itself. Raises TemplateError."""

    def none(slot: str) -> str:
        raise TemplateError(f"a word cannot have the slot {{{slot}}}")

    values = {}
    for word, value in choices:
        check_brackets(word)
        values[rewrite(word, none), text_of(value)] = value
    return TextSlotList(
        name, [TextSlotValue.from_tuple((word, value), allow_template=True) for (word, _), value in values.items()]
    )


def slots_in(template: str, rules: Mapping[str, str]) -> set[str]:
    """Every slot of a template and of the rules that it names. Raises TemplateError."""
    used = rules_used([template], rules)
    return set(slot_names(template)).union(*(slot_names(body) for body in used.values()))


def _literals(expression: Expression) -> Iterator[str]:
    if isinstance(expression, TextChunk):
        yield expression.text
    elif isinstance(expression, Items):
        for item in expression.items:
            yield from _literals(item)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
