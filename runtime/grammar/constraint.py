"""Grammars that bound what the model can write: JSON under a schema, and function calls (by llguidance)."""

from __future__ import annotations

import json
import logging
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import llguidance
import numpy as np
import numpy.typing as npt
from llguidance.numpy import allocate_token_bitmask, fill_next_token_bitmask

from lineside.runtime.chat import Tool
from lineside.runtime.errors import GrammarError, GrammarTooLarge, Unsatisfiable
from lineside.runtime.grammar.json_schema import Lowered, Schema, UnsupportedKeyword, lower
from lineside.runtime.grammar.tool_grammar import SPACED, WRITTEN_ONE_WAY, ToolChoice, lower_parameters, tool_grammar

if TYPE_CHECKING:
    from lineside.runtime.text.tokenizer import Tokenizer

log = logging.getLogger("lineside.grammar")
COMPACT = {**WRITTEN_ONE_WAY, "item_separator": ",", "key_separator": ":"}
"""Inspection answers: no byte more than needed."""

MAX_COMPILED = 256
Kept = TypeVar("Kept")


class Constraint:
    """The state of one grammar along one answer.

    `mask` says which tokens may come next; `accept` moves on. The bit mask is allocated once.
    """

    def __init__(self, matcher: llguidance.LLMatcher, vocab_size: int) -> None:
        self._matcher = matcher
        self._vocab_size = vocab_size
        self._bits = allocate_token_bitmask(1, vocab_size)

    def fresh(self) -> Constraint:
        """Another one in the same state."""
        return Constraint(self._matcher.deep_copy(), self._vocab_size)

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
        self._compiled: OrderedDict[str, llguidance.LLMatcher] = OrderedDict()
        self._offers: OrderedDict[str, Constraint] = OrderedDict()

    @cached_property
    def _llg_tokenizer(self) -> llguidance.LLTokenizer:
        """Made for the first grammar: a start, and an answer without one, need not wait for it."""
        from mistral_common.guidance.tokenizer import from_mistral_tokenizer

        return from_mistral_tokenizer(self._tokenizer.mistral)

    def json(self, schema: Schema, subject: str = "the schema") -> Constraint:
        """Compact JSON that satisfies `schema` (draft 2020-12); `subject` begins the messages of errors.

        Raises:
            UnsupportedKeyword: a keyword that cannot be enforced, with the path to it.
            GrammarTooLarge: the schema is too long, nested too deeply, or over llguidance's limits.
            Unsatisfiable: no JSON satisfies the schema.
            GrammarError: the schema is not JSON.
        """
        return self._json(lower(schema, subject), COMPACT, subject)

    def object(self, properties: Mapping[str, Schema]) -> Constraint:
        """A compact JSON object with these properties in this order; each schema stands for itself.

        Raises:
            GrammarError: as `json`.
        """
        lark = 'start: "{" ' + ' "," '.join(_property(*each) for each in properties.items()) + ' "}"'
        return self._constraint(json.dumps({"grammars": [{"lark_grammar": lark}]}))

    def beginning(self, name: str, schema: Schema, then: str) -> Constraint:
        """What such an object begins with: the property `name`, and the text `then` behind it. Raises GrammarError."""
        lark = 'start: "{" ' + _property(name, schema) + f" {json.dumps(then)}"
        return self._constraint(json.dumps({"grammars": [{"lark_grammar": lark}]}))

    def tools(
        self, tools: Sequence[Tool], choice: ToolChoice = "auto", said: Sequence[str] | None = None
    ) -> Constraint:
        """Text or calls of these tools, each call with arguments that satisfy the tool's parameters.

        Free texts in arguments are among `said` where it is given (see `runtime.grammar.verbatim`). Where no call
        could be written then, they are free again, and the log says so.

        Raises:
            GrammarError: see `runtime.grammar.tool_grammar`.
        """
        offer = repr((choice, [(tool.name, tool.parameters) for tool in tools]))
        constraint = self._offers.get(offer)
        if constraint is None:
            lark = tool_grammar(self._tokenizer, tools, choice)
            for tool in tools:  # one by one first: an error then says whose it is, and where
                self._json(lower_parameters(tool), SPACED, f"the parameters of {tool.name}")
            constraint = self._constraint(json.dumps({"grammars": [{"lark_grammar": lark}]}))
            _keep(self._offers, offer, constraint)
        if said is not None:
            try:
                lark = tool_grammar(self._tokenizer, tools, choice, said)
                return self._constraint(json.dumps({"grammars": [{"lark_grammar": lark}]}), keep=False)
            except GrammarError as error:
                log.warning("arguments are not bound to the words that were said: %s", error)
        return constraint.fresh()

    def _json(self, lowered: Lowered, options: Mapping[str, Any], subject: str) -> Constraint:
        try:
            return self._constraint(_json_grammar(lowered.schema, options))
        except GrammarError as error:
            path, culprit = self._culprit(lowered, options) or ("#", error)
            if type(culprit) is GrammarError:
                raise UnsupportedKeyword(path, str(culprit), subject) from None
            raise type(culprit)(f"{subject} at {path}: {culprit}") from None

    def _culprit(self, lowered: Lowered, options: Mapping[str, Any]) -> tuple[str, GrammarError] | None:
        """The innermost part of a schema that the grammar engine refuses by itself, and the keyword that it is for."""
        for path, part in lowered.parts:
            problem = self._problem(lowered.part(part), options)
            if problem is None:
                continue
            for key in sorted(part, key="type".__eq__):
                without = {other: value for other, value in part.items() if other != key}
                if self._problem(lowered.part(without), options) is None:
                    return f"{path}/{key}", problem
            return path, problem
        return None

    def _problem(self, schema: Mapping[str, Any], options: Mapping[str, Any]) -> GrammarError | None:
        try:
            self._constraint(_json_grammar(schema, options))
        except GrammarError as error:
            return error
        return None

    def _constraint(self, grammar: str, *, keep: bool = True) -> Constraint:
        matcher = self._compiled.get(grammar)
        if matcher is None:
            matcher = llguidance.LLMatcher(self._llg_tokenizer, grammar, log_level=0)
            if not matcher.is_error():
                trial = matcher.deep_copy()
                trial.compute_bitmask()  # a schema that only refers to itself is found here
                if trial.is_stopped() and not trial.is_error() and not matcher.is_accepting():
                    raise GrammarError("it can never be finished: it refers to itself without an end")
                _raise_problem(trial)
            _raise_problem(matcher)
            if keep:
                _keep(self._compiled, grammar, matcher)
        return Constraint(matcher.deep_copy(), self._tokenizer.vocab_size)


def _property(name: str, schema: Schema) -> str:
    """A property of a compact object, in Lark."""
    return f"{json.dumps(f'{json.dumps(name)}:')} %json {json.dumps({**lower(schema).schema, 'x-guidance': COMPACT})}"


def _keep(cache: OrderedDict[str, Kept], key: str, value: Kept) -> None:
    """The oldest goes where there are too many."""
    cache[key] = value
    if len(cache) > MAX_COMPILED:
        cache.popitem(last=False)


def _json_grammar(schema: Mapping[str, Any], options: Mapping[str, Any]) -> str:
    grammar: str = llguidance.LLMatcher.grammar_from_json_schema({**schema, "x-guidance": options})
    return grammar


def _raise_problem(matcher: llguidance.LLMatcher) -> None:
    """Raise what llguidance found wrong with a grammar, if anything."""
    if not matcher.is_error():
        return
    problem = " ".join(matcher.get_error().split()).partition("<state>")[0].strip()
    if "nsatisfiable" in problem:
        raise Unsatisfiable(f"nothing can satisfy it ({problem})")
    if "too " in problem or "limit" in problem:
        raise GrammarTooLarge(f"it is over the limits of the grammar engine ({problem})")
    raise GrammarError(f"it cannot be turned into a grammar ({problem})")
