"""Several tokens a pass are the tokens of one a pass, to the rounding of the kernels."""

from __future__ import annotations

import json
import random
from typing import Any

import jsonschema
import numpy as np
import pytest

from lineside.runtime.chat import Message, Prompt
from lineside.runtime.engine.decoding import Decoding
from lineside.runtime.engine.engine import Engine
from lineside.runtime.engine.loop_guard import MIN_TOKENS, LoopGuard
from lineside.runtime.engine.sampling import GREEDY, Sampling

BUDGET = 160
KEYS = ("verdict", "number_of_defects", "größe", "stop the line", "x", "recommended_next_step")


def random_schema(rng: random.Random, depth: int = 0) -> dict[str, Any]:
    kinds = ["enum", "integer", "boolean", "string", "const", "number", "pattern"]
    kinds += ["object", "array", "anyOf"] * (depth < 2)
    kind = rng.choice(kinds) if depth else "object"
    if kind == "enum":
        return {"enum": rng.sample(["pass", "fail", "unsure", "call the line leader", "停止", 3, None, True], 3)}
    if kind == "const":
        return {"const": rng.choice(["continue production", 17, False])}
    if kind == "integer":
        return {"type": "integer", "minimum": 0, "maximum": rng.choice([9, 999])}
    if kind == "string":
        return {"type": "string", "maxLength": 12}
    if kind == "array":
        return {"type": "array", "items": random_schema(rng, depth + 1), "minItems": 1, "maxItems": 3}
    if kind == "number":
        return {"type": "number", "minimum": -1, "maximum": 1}
    if kind == "pattern":
        return {"type": "string", "pattern": "^[A-Z]{2}-[0-9]{3}(/rework)?$"}
    if kind == "anyOf":
        return {"anyOf": [random_schema(rng, depth + 1), {"type": "null"}, random_schema(rng, depth + 1)]}
    if kind == "boolean":
        return {"type": "boolean"}
    keys = rng.sample(KEYS, rng.randint(1, 4))
    return {
        "type": "object",
        "properties": {key: random_schema(rng, depth + 1) for key in keys},
        "required": keys[: rng.randint(1, len(keys))],
        "additionalProperties": False,
    }


def decode(engine: Engine, prompt: Prompt, *, draft: bool, **options: Any) -> tuple[list[int], Decoding, int]:
    with engine.sequence(prompt, reserve=BUDGET) as sequence:
        decoding = engine.decode(sequence, max_tokens=BUDGET, draft=draft, **options)
        return list(decoding), decoding, sequence.counts.passes


def close_call(engine: Engine, prompt: Prompt, ours: list[int], plain: list[int]) -> bool:
    """Whether two answers part where two tokens are equally likely, to the noise of 8-bit activations.

    Attention adds up in another order for one token than for several; the last bit of a float may then decide how an
    activation is rounded.
    """
    at = next(i for i, (a, b) in enumerate(zip(ours, plain, strict=False)) if a != b)
    with engine.sequence(prompt, reserve=at) as sequence:
        sequence.extend(np.asarray(plain[:at], np.int64))
        difference = abs(float(sequence.logits[ours[at]] - sequence.logits[plain[at]]))
        return difference < 0.02 * float(np.abs(sequence.logits).max())


@pytest.mark.parametrize("seed", range(40))
@pytest.mark.parametrize("weights", ["float_engine", "random_engine", "default_engine"])
def test_grammar_bound_answers_are_those_of_one_token_a_pass(
    weights: str, seed: int, request: pytest.FixtureRequest
) -> None:
    engine: Engine = request.getfixturevalue(weights)
    rng = random.Random(seed)
    schema = random_schema(rng)
    sampling = GREEDY if seed % 2 else Sampling(rng.choice([0.5, 2.0]), seed)
    prompt = engine.tokenizer.encode_chat([Message("user", (f"Report part {seed}.",))])
    answers = []
    for draft in (True, False):
        constraint = engine.grammars.json(schema)
        ids, decoding, _ = decode(engine, prompt, draft=draft, sampling=sampling, constraint=constraint)
        answers.append((ids, decoding.finish_reason))
        if decoding.finish_reason == "stop":
            jsonschema.validate(json.loads(engine.tokenizer.decode(ids)), schema)
    if answers[0] != answers[1]:
        assert weights != "float_engine"
        assert sampling is not GREEDY or close_call(engine, prompt, answers[0][0], answers[1][0])


def test_what_the_grammar_forces_takes_few_passes(default_engine: Engine) -> None:
    """The shipped model writes the forced parts as the tokenizer does: they cost a pass for each choice, not token."""
    schema = {
        "type": "object",
        "properties": {
            "a_long_name_of_a_key": {"enum": ["pass", "fail"]},
            "another_long_name_of_a_key": {"type": "boolean"},
        },
        "required": ["a_long_name_of_a_key", "another_long_name_of_a_key"],
        "additionalProperties": False,
    }
    prompt = default_engine.tokenizer.encode_chat([Message("user", ("Report.",))])
    taken = []
    for draft in (True, False):
        constraint = default_engine.grammars.json(schema)
        ids, _, passes = decode(default_engine, prompt, draft=draft, sampling=GREEDY, constraint=constraint)
        taken.append((ids, passes))
    (drafted, few), (plain, many) = taken
    assert drafted == plain
    assert many == len(plain) - 1
    assert few <= many / 2


@pytest.mark.parametrize("seed", range(20))
def test_free_text_is_that_of_one_token_a_pass(float_engine: Engine, seed: int) -> None:
    """With temperature the same seed draws the same numbers; prompts repeat themselves, so that there are guesses."""
    words = " ".join(["stop the belt", "and start the press"] * 6)
    prompt = float_engine.tokenizer.encode_chat([Message("user", (f"{words} {seed}",))])
    sampling = GREEDY if seed < 5 else Sampling(0.7, seed)
    drafted, _, passes = decode(float_engine, prompt, draft=True, sampling=sampling)
    plain, _, plain_passes = decode(float_engine, prompt, draft=False, sampling=sampling)
    assert drafted == plain
    assert plain_passes == len(plain) - 1 or len(plain) < BUDGET
    if sampling is GREEDY:  # a random network soon repeats itself, and is guessed
        assert passes < plain_passes


def test_a_loop_is_ended(float_engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network whose logits never change says one token for ever."""
    logits = np.zeros(float_engine.bundle.manifest.vocab_size, np.float32)
    logits[300] = 1.0
    monkeypatch.setattr(
        float_engine._decoder, "decode", lambda _cache, ids, _past: np.tile(logits, (len(ids), 1)), raising=True
    )
    prompt = float_engine.tokenizer.encode_chat([Message("user", ("Hi",))])
    ids, decoding, passes = decode(float_engine, prompt, draft=True, sampling=GREEDY)
    assert decoding.finish_reason == "repetition"
    assert MIN_TOKENS <= len(ids) <= MIN_TOKENS + 8
    assert passes < len(ids)


@pytest.mark.parametrize("period", [1, 2, 5, 17, 64])
def test_the_guard_sees_every_period(period: int) -> None:
    guard = LoopGuard()
    block = list(range(100, 100 + period))
    endless = [guard.looping(token) for token in [7, 8, 9, *block * 60]]
    first = endless.index(True)
    assert max(MIN_TOKENS, 4 * period) - 1 <= first <= max(MIN_TOKENS, 4 * period) + period + 3


def test_the_guard_lets_lists_pass() -> None:
    guard = LoopGuard()
    rng = np.random.default_rng(0)
    boxes = [token for _ in range(40) for token in (5, 6, 7, *rng.integers(10, 1000, 4), 8)]
    assert not any(guard.looping(int(token)) for token in boxes)


def test_no_draft_goes_beyond_the_budget(float_engine: Engine) -> None:
    constraint = float_engine.grammars.json({"const": "a long sentence that the grammar forces to its very end"})
    prompt = float_engine.tokenizer.encode_chat([Message("user", ("Hi",))])
    with float_engine.sequence(prompt, reserve=7) as sequence:
        generation = float_engine.generate(sequence, max_tokens=100, sampling=GREEDY, constraint=constraint)
        assert sequence.past <= sequence.limit
    assert (len(generation.ids), generation.finish_reason) == (7, "length")


def test_a_held_token_is_part_of_the_text(float_engine: Engine) -> None:
    """Held and taken by the first pass, or appended by a pass of its own: the same answer follows."""
    prompt = float_engine.tokenizer.encode_chat([Message("user", ("Report.",))])
    answers = []
    for held in (True, False):
        with float_engine.sequence(prompt, reserve=20) as sequence:
            if held:
                sequence.extend(np.asarray([301]))
                sequence.hold(302)
            else:
                sequence.extend(np.asarray([301, 302]))
            answers.append(float_engine.generate(sequence, max_tokens=12, sampling=GREEDY).ids)
    with float_engine.sequence(prompt, reserve=20) as sequence:
        without = float_engine.generate(sequence, max_tokens=12, sampling=GREEDY).ids
    assert answers[0] == answers[1] != without


def test_generation_goes_on_where_it_stopped(float_engine: Engine) -> None:
    prompt = float_engine.tokenizer.encode_chat([Message("user", ("Report.",))])
    with float_engine.sequence(prompt, reserve=20) as sequence:
        parts = [float_engine.generate(sequence, max_tokens=count, sampling=GREEDY).ids for count in (3, 1, 6)]
    with float_engine.sequence(prompt, reserve=20) as sequence:
        assert float_engine.generate(sequence, max_tokens=10, sampling=GREEDY).ids == sum(parts, ())
    with pytest.raises(RuntimeError, match="given back"):
        float_engine.generate(sequence, max_tokens=3, sampling=GREEDY)
