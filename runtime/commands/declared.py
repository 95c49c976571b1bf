"""What a station says of a tool, besides what the model is shown of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lineside.runtime.chat import Tool
from lineside.runtime.commands.concepts import split_name
from lineside.runtime.commands.language import common, plain, words_of


@dataclass(frozen=True)
class Declared:
    """A tool with its declarations.

    Attributes:
        phrases: example sentences.
        words: parameter -> value -> words for it; a boolean's values are `true` and `false`.
        units: parameter -> its unit, as pint writes it.
        opposite: name of the tool whose effect this one undoes.
        read_only: whether it tells something and changes nothing. None goes by the first word of its name.
        unchecked: checks that its calls need not pass.
    """

    tool: Tool
    phrases: tuple[str, ...] = ()
    words: Mapping[str, Mapping[str, Sequence[str]]] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    opposite: str = ""
    read_only: bool | None = None
    unchecked: frozenset[str] = frozenset()

    @property
    def name(self) -> str:
        return self.tool.name

    @property
    def reads(self) -> bool:
        """Whether a question for information may lead to a call of it."""
        if self.read_only is not None:
            return self.read_only
        return split_name(self.name).split(" ")[0] in common().reading

    @property
    def takes_steps(self) -> bool:
        """Whether a number may say by how much."""
        return not common().stepping.isdisjoint(words_of(plain(f"{split_name(self.name)} {self.tool.description}")))

    @property
    def properties(self) -> Mapping[str, Mapping[str, Any]]:
        """Schemas of its parameters, with references resolved one step."""
        found: Mapping[str, Any] = self.tool.parameters.get("properties", {})
        return {name: self.resolved(schema) for name, schema in found.items()}

    def resolved(self, schema: Any) -> Mapping[str, Any]:
        """What a `$ref` within the parameters refers to, or the schema itself; an empty one for true and false."""
        if not isinstance(schema, Mapping):
            return {}
        reference = schema.get("$ref", "")
        for table in ("$defs", "definitions"):
            prefix = f"#/{table}/"
            if isinstance(reference, str) and reference.startswith(prefix):
                target = self.tool.parameters.get(table, {}).get(reference.removeprefix(prefix), {})
                return {**target, **{key: value for key, value in schema.items() if key != "$ref"}}
        return schema
