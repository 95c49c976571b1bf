"""Tools that were written by hand, with phrases that ask for them: `written/*.toml`.

A tool has several names and descriptions, of which one is drawn; parameters of one kind each:

- `enum`: values, each with its wordings in every language;
- `integer`: the least and the most;
- `text`: values as said, in place of which made-up ones are drawn at times;
- `boolean`: told by the words of a phrase.

A phrase has `{parameter}` where one is spoken; `with` gives what its words say otherwise.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np

from lineside.export.default_model.data import made_up
from lineside.export.default_model.data.offers import FOLDER, Asked, Offer, make_tool, ordered, spell, styled, wrapped
from lineside.runtime.chat import Tool

MADE_UP_ODDS, WRAP_ODDS = 0.4, 0.4
DESCRIBED_ODDS, LEFT_OUT_ODDS = 0.7, 0.1
TIMES = frozenset({"when", "day", "date", "time", "hour", "month", "year", "period"})
"""Words in the name of a text parameter that is a time: such a one is known by its value, and never made up."""


@cache
def written_tools() -> Mapping[str, Sequence[Mapping[str, Any]]]:
    """All tools, by the name of their file."""
    files = sorted((FOLDER / "written").glob("*.toml"))
    return {path.stem: tomllib.loads(path.read_text(encoding="utf-8"))["tool"] for path in files}


@cache
def known_texts() -> tuple[str, ...]:
    """Values of text parameters, to make up others from."""
    rows = (row for rows in written_tools().values() for row in rows)
    return tuple(v for row in rows for p in row.get("parameters", {}).values() for v in p.get("text", ()))


def written_offer(row: Mapping[str, Any], rng: np.random.Generator) -> Offer:
    """A tool under one of its names, at times without some of its optional parameters."""
    parameters = row.get("parameters", {})
    kept = {n: p for n, p in parameters.items() if n in row["required"] or rng.random() > LEFT_OUT_ODDS}
    properties = {name: _property(kept[name], rng) for name in rng.permutation(list(kept)).tolist()}
    tool = make_tool(
        styled(str(rng.choice(row["names"])), rng), str(rng.choice(row["about"])), properties, list(row["required"])
    )
    phrases = {language: _fitting(row["phrases"][language], parameters, kept) for language in row["phrases"]}

    def say(rng: np.random.Generator, language: str) -> Asked | None:
        if not phrases[language]:
            return None
        return _fill(phrases[language][int(rng.integers(len(phrases[language])))], tool, kept, rng, language)

    return Offer(tool, frozenset({f"{row['domain']}/{row['names'][0]}"}), frozenset(), say)


def _property(spec: Mapping[str, Any], rng: np.random.Generator) -> dict[str, Any]:
    if "enum" in spec:
        schema: dict[str, Any] = {"enum": [str(v) for v in rng.permutation(list(spec["enum"]))]}
    elif "integer" in spec:
        schema = {"type": "integer", "minimum": spec["integer"][0], "maximum": spec["integer"][1]}
    else:
        schema = {"type": "string" if "text" in spec else "boolean"}
    if "description" in spec and rng.random() < DESCRIBED_ODDS:
        schema["description"] = spec["description"]
    return schema


def _fitting(phrases: Sequence[Any], parameters: Mapping[str, Any], kept: Mapping[str, Any]) -> list[Any]:
    """Those that speak of no parameter that was left out."""
    missing = parameters.keys() - kept.keys()
    return [p for p in phrases if not any(f"{{{name}}}" in _said(p) or name in _given(p) for name in missing)]


def _said(phrase: Any) -> str:
    return str(phrase if isinstance(phrase, str) else phrase["say"])


def _given(phrase: Any) -> Mapping[str, Any]:
    given: Mapping[str, Any] = {} if isinstance(phrase, str) else phrase["with"]
    return given


def _fill(phrase: Any, tool: Tool, kept: Mapping[str, Any], rng: np.random.Generator, language: str) -> Asked:
    said, arguments = _said(phrase), dict(_given(phrase))
    for name, spec in kept.items():
        if f"{{{name}}}" not in said:
            continue
        if "enum" in spec:
            arguments[name] = str(rng.choice(list(spec["enum"])))
            spoken = str(rng.choice(spec["enum"][arguments[name]][language]))
        elif "integer" in spec:
            arguments[name] = int(rng.integers(spec["integer"][0], spec["integer"][1] + 1))
            spoken = spell(arguments[name], rng, language)
        else:
            invented = rng.random() < MADE_UP_ODDS and not TIMES & set(name.split("_"))
            spoken = made_up.text(known_texts(), rng) if invented else str(rng.choice(spec["text"]))
            arguments[name] = spoken
        said = said.replace(f"{{{name}}}", spoken)
    if rng.random() < WRAP_ODDS:
        said = wrapped(said, rng, language)
    return said, ordered(arguments, tool)
