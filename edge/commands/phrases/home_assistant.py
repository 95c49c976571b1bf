"""Home Assistant's own sentences, from the package `home-assistant-intents`, for tools that name an intent.

Only what a tool declares is taken: a sentence is kept where its slots are arguments of the tool or have the value that
is asked for, and where it leaves no argument open that a call needs.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from hassil.expression import Sentence as Template
from hassil.intents import SlotList
from hassil.parse_expression import parse_sentence

from lineside.edge.commands.phrases.arguments import Argument
from lineside.edge.commands.phrases.compile import check_arguments
from lineside.edge.commands.phrases.compiled import (
    Compiled,
    Group,
    Slots,
    compile_rules,
    slots_in,
    tool_slots,
    word_list,
)
from lineside.edge.commands.phrases.templates import TemplateError, rewrite, rules_used
from lineside.edge.config import Config
from lineside.edge.errors import ConfigError, RequestError
from lineside.edge.phrase_files import Language, Words, declared_words
from lineside.edge.tool_config import HomeAssistantConfig, ToolConfig

INSTALL = "install it: pip install 'lineside[home]'"


def add_home_assistant(compiled: Compiled, config: Config) -> list[str]:
    """Add the sentences of every intent that a tool names; returns what is wrong.

    Raises:
        ConfigError: the package is not installed.
    """
    problems = []
    words = declared_words(config)
    for language in config.commands.home_assistant:
        data = _load(language)
        for name, tool in config.tools.items():
            for place, entry in enumerate(tool.home_assistant):
                key = f"{config.file}: `tools.{name}.home_assistant.{place}`"
                adder = _Adder(compiled, data, language, name, tool, entry, words.get(name, {}))
                try:
                    adder.add(f"ha/{language}/{place}")
                except (TemplateError, RequestError) as error:
                    problems.append(f"{key}: {error}")
    return problems


def _load(language: Language) -> Mapping[str, Any]:
    try:
        from home_assistant_intents import get_intents
    except ImportError:
        raise ConfigError(f"`commands.home_assistant`: home-assistant-intents is missing: {INSTALL}") from None
    found: Mapping[str, Any] | None = get_intents(language, json_load=json.load)
    if found is None:
        raise ConfigError(f"`commands.home_assistant`: the installed package has no sentences in {language!r}")
    return found


@dataclass(frozen=True)
class _Adder:
    """One intent for one tool in one language."""

    compiled: Compiled
    data: Mapping[str, Any]
    language: Language
    name: str
    tool: ToolConfig
    entry: HomeAssistantConfig
    words: Words

    def add(self, prefix: str) -> None:
        """Raises TemplateError, RequestError: there is no such intent, or what is declared makes no call."""
        if self.entry.intent not in self.data["intents"]:
            known = ", ".join(sorted(self.data["intents"]))
            raise TemplateError(f"there is no intent {self.entry.intent} in {self.language!r}; known: {known}")
        slots, _ = tool_slots(self.name, self.tool, (self.language,), self.words, prefix)
        for slot, value in self.entry.slots.items():
            if (argument := self._argument(slot)) and argument not in slots.arguments:
                raise TemplateError(f"`slots.{slot}`: {value} is no argument of {self.name}")
        rules, templates = self.data["expansion_rules"], list(self._chosen())
        if not templates:
            raise TemplateError(f"no sentence of {self.entry.intent} in {self.language!r} says all that a call needs")
        lists = slots.lists()
        put = _Put(self, slots, lists)
        used = rules_used(templates, rules)
        compiled_rules: dict[str, Template] = compile_rules(used, put)
        written = [parse_sentence(rewrite(text, put), keep_text=True) for text in templates]
        self.compiled.lists |= lists
        group = Group(self.name, self.entry.arguments, {}, (self.language,), is_ours=False)
        self.compiled.add(group, written, compiled_rules)
        for template in written:
            self.compiled.written.setdefault(template.text or "", f"Home Assistant's {self.entry.intent}")

    def _argument(self, slot: str) -> str:
        """The argument that a slot becomes; empty where it is none."""
        value = self.entry.slots.get(slot, "")
        return value[1:-1] if value.startswith("{") and value.endswith("}") else ""

    def _chosen(self) -> Iterator[str]:
        """The sentences whose slots are all declared, and that say what a call needs."""
        rules = self.data["expansion_rules"]
        for block in self.data["intents"][self.entry.intent]["data"]:
            fixed = block.get("slots", {})
            if any(self.entry.slots.get(slot) != value for slot, value in fixed.items()):
                continue
            for text in block["sentences"]:
                said = {_slot(name) for name in slots_in(text, rules | block.get("expansion_rules", {}))}
                wanted = {slot for slot in self.entry.slots if not self._argument(slot) and slot not in fixed}
                if not said <= self.entry.slots.keys() or not wanted <= said:
                    continue
                try:
                    check_arguments(self.entry.arguments, {self._argument(slot) for slot in said} - {""}, self.tool)
                except TemplateError:
                    continue
                yield text


class _Put:
    """What stands in the place of a slot of Home Assistant's; adds the lists that it takes over."""

    def __init__(self, adder: _Adder, slots: Slots, lists: dict[str, SlotList]) -> None:
        self._adder, self._slots, self._lists = adder, slots, lists

    def __call__(self, name: str) -> str:
        list_name, slot = name.split(":")[0], _slot(name)
        theirs = self._adder.data["lists"].get(list_name, {}).get("values")
        argument = self._adder._argument(slot)
        if argument and (theirs is None or not _is_number(self._slots.arguments[argument])):
            return self._slots.put(argument)
        if theirs is None:
            return "{_anything}"  # in a rule that no chosen sentence uses
        wanted = None if argument else self._adder.entry.slots.get(slot)
        choices = [
            (value, value) if isinstance(value, str) else (value["in"], value.get("out", value["in"]))
            for value in theirs
        ]
        kept = [(word, value) for word, value in choices if wanted is None or str(value) == wanted]
        if not kept:
            raise TemplateError(
                f"`slots.{slot}`: {wanted!r} is none of {', '.join({str(value) for _, value in choices})}"
            )
        key = f"{self._slots.prefix}/{list_name}/{wanted or ''}"
        self._lists.setdefault(key, word_list(key, kept))
        return f"{{{key}:{argument or f'_{slot}'}}}"


def _is_number(argument: Argument) -> bool:
    return argument.kind == "number"


def _slot(name: str) -> str:
    return name.split(":")[-1].lstrip("@")
