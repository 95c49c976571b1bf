"""Grammars that bound what the model can write: JSON under a schema, and function calls (by llguidance)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import llguidance
import numpy as np
import numpy.typing as npt
from llguidance.numpy import allocate_token_bitmask, fill_next_token_bitmask
from mistral_common.guidance.grammar_factory import GrammarFactory
from mistral_common.guidance.tokenizer import from_mistral_tokenizer
from mistral_common.protocol.instruct.tool_calls import ToolChoiceEnum

from runtime.chat import Tool
from runtime.errors import GrammarError, GrammarTooLarge, Unsatisfiable
from runtime.tokenizer import Tokenizer, to_mistral_tool

COMPACT = {"whitespace_flexible": False, "item_separator": ",", "key_separator": ":"}
"""Inspection answers: no byte more than needed."""
SPACED = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
"""Arguments of calls: as `json.dumps` writes them, so that a call re-encodes to the same tokens."""

MAX_SCHEMA_BYTES = 256 * 1024

ToolChoice = Literal["auto", "required", "none"]


class Constraint:
    """The state of one grammar along one answer.

    `mask` says which tokens may come next; `accept` moves on. The bit mask is allocated once.
    """

    def __init__(self, matcher: llguidance.LLMatcher, vocab_size: int) -> None:
        self._matcher = matcher
        self._vocab_size = vocab_size
        self._bits = allocate_token_bitmask(1, vocab_size)

    def mask(self) -> npt.NDArray[np.bool_]:
        """True for each token `(vocab,)` that the grammar allows next.

        Raises:
            GrammarError: the grammar ran over llguidance's limits.
        """
        fill_next_token_bitmask(self._matcher, self._bits)
        self._check()
        bits = np.unpackbits(self._bits.view(np.uint8)[0], count=self._vocab_size, bitorder="little")
        return bits.view(np.bool_)

    def accept(self, tokens: Sequence[int]) -> None:
        """Raises GrammarError where the grammar does not allow `tokens`."""
        self._matcher.consume_tokens([int(token) for token in tokens])
        self._check()

    def forced(self) -> list[int]:
        """The tokens that the grammar leaves no choice about, as the tokenizer would write them; possibly none."""
        return self._matcher.compute_ff_tokens()

    def count_allowed(self, tokens: Sequence[int]) -> int:
        """How many leading `tokens` the grammar would take, one after the other."""
        return self._matcher.validate_tokens([int(token) for token in tokens])

    @property
    def finished(self) -> bool:
        """True when nothing more may follow."""
        return self._matcher.is_stopped()

    def _check(self) -> None:
        if self._matcher.is_error():
            raise GrammarError(f"the grammar cannot go on: {self._matcher.get_error()}")


class Grammars:
    """Compiles grammars for one tokenizer and keeps them: a station asks for the same ones again and again."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        mistral = tokenizer.mistral
        self._factory = GrammarFactory(mistral) if GrammarFactory.is_supported(mistral) else None
        self._llg_tokenizer = self._factory.llg_tokenizer if self._factory else from_mistral_tokenizer(mistral)
        self._compiled: dict[str, llguidance.LLMatcher] = {}

    def json(self, schema: Mapping[str, Any]) -> Constraint:
        """Compact JSON that satisfies `schema`.

        Raises:
            GrammarTooLarge: more than `MAX_SCHEMA_BYTES`, nested too deeply, or over llguidance's limits.
            Unsatisfiable: no JSON satisfies the schema.
            GrammarError: llguidance cannot express the schema.
        """
        _check_size(schema)
        return self._constraint(llguidance.LLMatcher.grammar_from_json_schema({**schema, "x-guidance": COMPACT}))

    def tools(self, tools: Sequence[Tool], choice: ToolChoice = "auto") -> Constraint:
        """Text or calls of these tools, each call with arguments that satisfy the tool's parameters.

        Raises:
            GrammarError: a schema that cannot be expressed, or a tokenizer before v11, whose call format
                mistral-common has no grammar for.
        """
        factory = self._factory
        if factory is None:
            raise GrammarError(f"tokenizer {self._tokenizer.version}: function calls need Tekken v11 or later")
        for tool in tools:
            _check_size(tool.parameters)
        bound = [
            to_mistral_tool(Tool(tool.name, tool.description, {**tool.parameters, "x-guidance": SPACED}))
            for tool in tools
        ]
        lark = factory.get_lark_from_jinja(
            template=factory.select_jinja_template(),
            mode=ToolChoiceEnum(choice if tools else "none"),
            tools=bound,
            json_schema=None,
            parallel_tool_calls=True,
            json_only=False,
            force_tool_names=False,
        )
        return self._constraint(json.dumps({"grammars": [{"lark_grammar": lark}]}))

    def _constraint(self, grammar: str) -> Constraint:
        matcher = self._compiled.get(grammar)
        if matcher is None:
            matcher = llguidance.LLMatcher(self._llg_tokenizer, grammar, log_level=0)
            if not matcher.is_error():
                trial = matcher.deep_copy()
                trial.compute_bitmask()  # a schema that only refers to itself is found here
                _raise_problem(trial)
            _raise_problem(matcher)
            self._compiled[grammar] = matcher
        return Constraint(matcher.deep_copy(), self._tokenizer.vocab_size)


def _check_size(schema: Mapping[str, Any]) -> None:
    try:
        size = len(json.dumps(schema))
    except RecursionError:
        raise GrammarTooLarge("the schema is nested too deeply") from None
    except (TypeError, ValueError) as error:
        raise GrammarError(f"the schema is not JSON: {error}") from error
    if size > MAX_SCHEMA_BYTES:
        raise GrammarTooLarge(f"the schema has {size} bytes, at most {MAX_SCHEMA_BYTES} are taken: split it up")


def _raise_problem(matcher: llguidance.LLMatcher) -> None:
    """Raise what llguidance found wrong with a grammar, if anything."""
    if not matcher.is_error():
        return
    problem = " ".join(matcher.get_error().split())
    if "nsatisfiable" in problem:
        raise Unsatisfiable(f"nothing can satisfy the schema: {problem}")
    if "too " in problem or "limit" in problem:
        raise GrammarTooLarge(f"the schema is over the limits of the grammar engine: {problem}")
    raise GrammarError(f"the schema cannot be turned into a grammar: {problem}")
