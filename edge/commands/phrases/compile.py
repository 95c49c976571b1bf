"""Makes what matches out of what is declared, and tells every mistake with its file, line and key."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from hassil.expression import Sentence as Template
from hassil.parse_expression import parse_sentence
from hassil.parser import ParseError

from lineside.edge.commands.phrases.ambiguous import Declared, ambiguous_pairs
from lineside.edge.commands.phrases.arguments import Argument, Conversion, arguments_of, check_value, conversion
from lineside.edge.commands.phrases.compiled import Compiled, Group, Slots, compile_rules, slots_in, tool_slots
from lineside.edge.commands.phrases.templates import TemplateError, check_brackets, rewrite, rules_used
from lineside.edge.config import Config
from lineside.edge.errors import ConfigError, RequestError
from lineside.edge.phrase_files import NO_TOOL, Phrase, Source, sources
from lineside.edge.tool_config import ToolConfig

MAX_PROBLEMS = 50


def compile_phrases(config: Config) -> Compiled:
    """Everything that the station declares.

    Raises:
        ConfigError: each mistake on a line of its own: a slot that is no argument, a template that cannot be read, an
            argument that nothing says, two phrases that are the same sentence for two calls.
    """
    compiled, problems = Compiled(_largest(config)), list[str]()
    declared: list[Declared] = []
    for index, source in enumerate(sources(config)):
        declared += _add_source(compiled, config, source, index, problems)
    if config.commands.home_assistant:
        from lineside.edge.commands.phrases.home_assistant import add_home_assistant

        problems += add_home_assistant(compiled, config)
    if not problems:
        problems += ambiguous_pairs(compiled, declared)
    if problems:
        more = f"\n... and {len(problems) - MAX_PROBLEMS} more" if len(problems) > MAX_PROBLEMS else ""
        raise ConfigError("\n".join(dict.fromkeys(problems[:MAX_PROBLEMS])) + more)
    return compiled


def _largest(config: Config) -> float:
    arguments = [argument for tool in config.tools.values() for argument in arguments_of(tool).values()]
    return max(
        (argument.schema.get("maximum", math.inf) for argument in arguments if argument.kind == "number"), default=0
    )


def _add_source(
    compiled: Compiled, config: Config, source: Source, index: int, problems: list[str]
) -> Iterator[Declared]:
    """Yields what was added."""
    by_tool: dict[str, list[Phrase]] = {}
    for phrase in source.phrases:
        by_tool.setdefault(phrase.tool, []).append(phrase)
    for name in dict.fromkeys((*by_tool, *source.words)):
        tool = config.tools.get(name, ToolConfig(""))
        slots, wrong = tool_slots(name, tool, source.languages, source.words.get(name, {}), str(index))
        problems += [f"{source.path}: {problem}" for problem in wrong]
        try:
            compiled.lists |= slots.lists()
        except TemplateError as error:
            problems.append(f"{source.path}: `words.{name}`: {error}")
            continue
        yield from _add_tool(compiled, tool, slots, source, by_tool.get(name, []), problems)


def _add_tool(
    compiled: Compiled,
    tool: ToolConfig,
    slots: Slots,
    source: Source,
    phrases: list[Phrase],
    problems: list[str],
) -> Iterator[Declared]:
    alike: dict[str, list[tuple[Phrase, Template]]] = {}
    groups: dict[str, Group] = {}
    for phrase in phrases:
        try:
            group = _group(phrase, tool, slots, source)
            template = rewrite(phrase.text, slots.put, is_phrase=True)
            parsed = _parse(template)
            key = json.dumps([dict(phrase.arguments), dict(phrase.units), group.is_question], sort_keys=True)
            groups.setdefault(key, group)
            alike.setdefault(key, []).append((phrase, parsed))
        except (TemplateError, RequestError, ValueError) as error:
            problems.append(f"{phrase.place}: {phrase.text!r}: {error}")
    for key, members in alike.items():
        used = rules_used([phrase.text for phrase, _ in members], source.rules)
        try:
            compiled.add(groups[key], [template for _, template in members], compile_rules(used, slots.put))
        except TemplateError as error:
            problems.append(f"{source.path}: `rules`: {error}")
            continue
        for phrase, parsed in members:
            compiled.written.setdefault(parsed.text or "", phrase.text)
            yield phrase, len(compiled.groups) - 1, parsed
    _widen(compiled, slots, source, [(phrase, groups[key]) for key in alike for phrase, _ in alike[key]])


def _widen(compiled: Compiled, slots: Slots, source: Source, phrases: list[tuple[Phrase, Group]]) -> None:
    """The same sentences with any words in the place of one choice, to say which values there are."""
    for name, argument in slots.arguments.items():
        if argument.kind != "choice" or argument.is_flag:
            continue
        texts = [p.text for p, group in phrases if name in slots_in(p.text, source.rules) and not group.is_question]
        if texts:
            put = partial(slots.put, widened=name)
            rules: dict[str, Template] = compile_rules(rules_used(texts, source.rules), put)
            templates = [_parse(rewrite(text, put, is_phrase=True)) for text in texts]
            group = Group(slots.tool, languages=source.languages, widened=name)
            compiled.add(group, templates, rules)


def _group(phrase: Phrase, tool: ToolConfig, slots: Slots, source: Source) -> Group:
    """Raises TemplateError, RequestError, ValueError: what is wrong with the phrase."""
    check_brackets(phrase.text)
    for rule in rules_used([phrase.text], source.rules).values():
        check_brackets(rule)
    said = slots_in(phrase.text, source.rules)
    for name in said:
        slots.put(name)
    if phrase.tool == NO_TOOL:
        return Group(NO_TOOL, languages=source.languages, is_question=_asks(phrase.text))
    check_arguments(phrase.arguments, said, tool)
    return Group(
        phrase.tool,
        phrase.arguments,
        _conversions(phrase, tool, said),
        source.languages,
        is_question=_asks(phrase.text),
    )


def check_arguments(fixed: Mapping[str, Any], said: set[str], tool: ToolConfig) -> None:
    """Raises TemplateError or RequestError where a call would lack an argument, or have a wrong one."""
    known = arguments_of(tool)
    for name, value in fixed.items():
        if name not in tool.parameters.get("properties", {}):
            raise TemplateError(f"`arguments.{name}`: there is no such argument")
        if name in said:
            raise TemplateError(f"`arguments.{name}` is said by a slot, too")
        check_value(known.get(name, Argument(name, "text", tool.parameters["properties"][name], {})), value, {})
    missing = [name for name in tool.parameters.get("required", []) if name not in said and name not in fixed]
    if missing:
        raise TemplateError(f"nothing says `{missing[0]}`: add {{{missing[0]}}}, or `arguments`")


def _conversions(phrase: Phrase, tool: ToolConfig, said: set[str]) -> dict[str, Conversion]:
    found = {}
    for name, unit in phrase.units.items():
        if name not in said:
            raise TemplateError(f"`units.{name}`: the sentence has no slot {{{name}}}")
        if name not in tool.units:
            raise TemplateError(f"`units.{name}`: say in `tools.{phrase.tool}.units.{name}` what the tool takes")
        found[name] = conversion(unit, tool.units[name])
    return found


def _asks(text: str) -> bool:
    return text.rstrip().endswith("?")


def _parse(template: str) -> Template:
    """One template alone, so that a mistake is told with its own line."""
    try:
        return parse_sentence(template, keep_text=True)
    except (ParseError, AssertionError) as error:
        raise TemplateError(f"it cannot be read ({error})") from error
