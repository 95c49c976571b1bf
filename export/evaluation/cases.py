"""The held-out commands, one JSON object a line in `commands/`, and the tools that they are put with, in `tools/`.

`commands/factory.jsonl`, `vehicle.jsonl` and `home.jsonl` were written for Lineside: a line holds one command in every
language, and is offered all tools of its domain. The other files come from public data sets; each line is offered the
tools that it names. README.md tells the format and the sources.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from lineside.runtime.chat import Tool
from lineside.runtime.commands.declared import Declared

FOLDER = Path(__file__).parent
OWN = ("factory", "vehicle", "home")
PUBLIC = ("hwu64", "snips", "clinc")
LANGUAGES = ("en", "de", "fr", "es")


@dataclass(frozen=True)
class Expected:
    """The right call.

    Attributes:
        arguments: as a careful model would give them.
        accept: further right values of an argument. An argument that is only here may be left out; `None` among the
            values of one that is in `arguments` says that it may be left out, too.
    """

    name: str
    arguments: Mapping[str, Any]
    accept: Mapping[str, Sequence[Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class Case:
    """A command with the tools on offer; `expected` is None where none fits.

    `source` is `own` or the data set's name; `domain` names the file in `tools/`.
    """

    id: str
    source: str
    domain: str
    language: str
    text: str
    system: str
    tools: tuple[Tool, ...]
    expected: Expected | None

    @property
    def declared(self) -> tuple[Declared, ...]:
        """The tools as a station declares them."""
        reading = load_tools(self.domain).reading
        return tuple(Declared(tool, read_only=tool.name in reading or None) for tool in self.tools)


@dataclass(frozen=True)
class ToolSet:
    """The tools of a domain by name, and the system text of a station that offers them.

    `reading` has the names of those that tell something and change nothing.
    """

    system: str
    tools: Mapping[str, Tool]
    reading: frozenset[str] = frozenset()


@cache
def load_tools(domain: str) -> ToolSet:
    """Read `tools/<domain>.toml`; every tool's parameters are a closed JSON Schema of an object."""
    content = tomllib.loads((FOLDER / "tools" / f"{domain}.toml").read_text(encoding="utf-8"))
    tools = {}
    for row in content["tool"]:
        schema = {
            "type": "object",
            "properties": row.get("properties", {}),
            "required": row["required"],
            "additionalProperties": False,
        }
        tools[row["name"]] = Tool(row["name"], row["description"], schema)
    reading = frozenset(row["name"] for row in content["tool"] if row.get("read_only"))
    return ToolSet(content["system"], tools, reading)


def load_cases() -> list[Case]:
    """Every case, in the order of the files."""
    public = load_tools("public")
    cases = [case for domain in OWN for case in _own(domain)]
    return cases + [_public(row, source, public) for source in PUBLIC for row in _rows(source)]


def held_out_texts(source: str) -> frozenset[str]:
    """The texts of a public data set that are kept for the evaluation: training must not draw them."""
    return frozenset(str(row["text"]) for row in _rows(source))


def _rows(name: str) -> Iterator[dict[str, Any]]:
    for line in (FOLDER / "commands" / f"{name}.jsonl").read_text(encoding="utf-8").splitlines():
        yield json.loads(line)


def _own(domain: str) -> Iterator[Case]:
    """One case for each line and language."""
    tool_set = load_tools(domain)
    for row in _rows(domain):
        for language in LANGUAGES:
            yield Case(
                id=f"{row['id']}-{language}",
                source="own",
                domain=domain,
                language=language,
                text=row["text"][language],
                system=tool_set.system,
                tools=tuple(tool_set.tools.values()),
                expected=_expected(row, language),
            )


def _public(row: Mapping[str, Any], source: str, tool_set: ToolSet) -> Case:
    return Case(
        id=row["id"],
        source=source,
        domain="public",
        language="en",
        text=row["text"],
        system=tool_set.system,
        tools=tuple(tool_set.tools[name] for name in row["tools"]),
        expected=_expected(row, "en"),
    )


def _expected(row: Mapping[str, Any], language: str) -> Expected | None:
    """The expected call; a value that is an object gives one value for each language."""
    call = row["call"]
    if call is None:
        return None
    arguments = {name: _spoken(value, language) for name, value in call["arguments"].items()}
    accept = {name: _spoken(values, language) for name, values in row.get("accept", {}).items()}
    return Expected(call["name"], arguments, accept)


def _spoken(value: Any, language: str) -> Any:
    return value[language] if isinstance(value, dict) else value
