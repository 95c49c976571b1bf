from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from runtime.assistant import ask
from runtime.chat import Message, Prompt
from runtime.engine import Engine
from runtime.errors import NotFinite, PromptTooLong
from runtime.sampling import GREEDY, Sampling

HELLO = [Message("user", ("Is the belt running?",))]


def prompt_of(engine: Engine) -> Prompt:
    return engine.tokenizer.encode_chat(HELLO)


def generate(engine: Engine, tokens: int, sampling: Sampling = GREEDY) -> tuple[int, ...]:
    sequence = engine.prefill(prompt_of(engine), reserve=tokens)
    return engine.decode(sequence, max_tokens=tokens, sampling=sampling).ids


def test_budget_ends_generation(random_engine: Engine) -> None:
    sequence = random_engine.prefill(prompt_of(random_engine), reserve=10)
    generation = random_engine.decode(sequence, max_tokens=10, sampling=GREEDY)
    assert (len(generation.ids), generation.finish_reason) == (10, "length")


def test_steps_equal_one_prefill(random_engine: Engine) -> None:
    """Greedy tokens decoded one by one are those that a prefill over all of them predicts."""
    ids = generate(random_engine, 8)
    prompt = prompt_of(random_engine)
    for length in range(8):
        so_far = np.concatenate([prompt.ids, np.asarray(ids[:length], np.int64)])
        sequence = random_engine.prefill(Prompt(so_far), reserve=1)
        assert int(np.argmax(sequence.logits)) == ids[length]


def test_a_request_leaves_nothing_behind(random_engine: Engine) -> None:
    first = generate(random_engine, 12)
    other = [Message("user", ("Stop the line at once, please.",))]
    ask(random_engine, other, max_tokens=30)
    assert generate(random_engine, 12) == first


def test_seeds_repeat(random_engine: Engine) -> None:
    hot = [generate(random_engine, 12, Sampling(2.0, seed)) for seed in (3, 3, 4)]
    assert hot[0] == hot[1] != hot[2]


def test_cancellation_between_tokens(random_engine: Engine) -> None:
    calls = 0

    def cancelled() -> bool:
        nonlocal calls
        calls += 1
        return calls > 3

    sequence = random_engine.prefill(prompt_of(random_engine), reserve=50)
    generation = random_engine.decode(sequence, max_tokens=50, sampling=GREEDY, cancelled=cancelled)
    assert (len(generation.ids), generation.finish_reason) == (3, "cancelled")


def test_end_token_stops(random_engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = generate(random_engine, 6)
    monkeypatch.setattr(random_engine.tokenizer, "eos_id", ids[4])
    first = ids.index(ids[4])
    assert generate(random_engine, 6) == ids[:first]


def test_a_prompt_that_does_not_fit_is_refused(random_bundle: Path) -> None:
    engine = Engine.open(random_bundle, capacity=64, threads=1)
    long = [Message("user", ("word " * 100,))]
    with pytest.raises(PromptTooLong, match="the context holds 64"):
        ask(engine, long)
    assert ask(engine, HELLO, max_tokens=4).answer_tokens == 4  # still usable


def test_the_cache_end_is_a_budget(random_bundle: Path) -> None:
    engine = Engine.open(random_bundle, capacity=64, threads=1)
    answer = ask(engine, HELLO, max_tokens=1000, sampling=GREEDY)
    assert answer.prompt_tokens + answer.answer_tokens == 64
    assert answer.finish_reason == "length"


def test_damaged_weights_are_noticed(random_engine: Engine) -> None:
    sequence = random_engine.prefill(prompt_of(random_engine), reserve=5)
    sequence.logits = np.full_like(sequence.logits, np.nan)
    with pytest.raises(NotFinite):
        random_engine.decode(sequence, max_tokens=5, sampling=GREEDY)
    assert len(generate(random_engine, 5)) == 5
