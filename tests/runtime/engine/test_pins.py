"""A pinned prefix stays, and serves every request that begins with it; the others have their room beside it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lineside.runtime.chat import Message, Prompt
from lineside.runtime.engine.engine import Engine, Limits
from lineside.runtime.engine.kv_pool import Keys, KVBudget, KVPool
from lineside.runtime.engine.pins import Pin
from lineside.runtime.engine.sampling import GREEDY
from lineside.runtime.engine.scheduler import Request
from lineside.runtime.errors import DeviceOutOfMemory, KVBudgetExceeded, NotFinite
from tests.support.decoders import PlainDecoder

NOTHING = Prompt(np.empty(0, np.int64))


def keys(*runs: tuple[int, int]) -> Keys:
    """So many tokens of each kind: `(kind, how many)`."""
    return np.concatenate([np.arange(count) + 1000 * kind for kind, count in runs])


PREFIX = keys((1, 100))


def pool(caches: int, context: int = 256) -> KVPool:
    return KVPool(PlainDecoder(), KVBudget(caches * 256), context)


def ask(lending: KVPool, asked: Keys, tokens: int = 200) -> int:
    """Tokens that need not be computed."""
    entry, reused = lending.acquire(asked, tokens, Request())
    lending.release(entry, asked)
    return reused


def pinned(lending: KVPool, tokens: int = 200) -> Pin:
    pin = lending.pin(PREFIX, tokens, NOTHING)
    ask(lending, PREFIX, tokens)
    return pin


def test_it_outlasts_any_number_of_other_requests() -> None:
    lending = pool(caches=2)
    pin = pinned(lending)
    for kind in range(5, 15):
        for other in (kind, kind + 100, kind + 200):
            assert ask(lending, keys((other, 150))) == 0
        assert ask(lending, np.concatenate([PREFIX, keys((kind + 50, 60))])) == 100
    assert pin.entry is not None
    assert lending.statistics().caches == 2


def test_without_it_the_same_prefix_would_go() -> None:
    lending = pool(caches=2)
    ask(lending, PREFIX)
    for kind in range(5, 8):
        ask(lending, keys((kind, 150)))
    assert ask(lending, np.concatenate([PREFIX, keys((50, 60))])) == 0


def test_who_has_a_part_of_it_gets_a_copy() -> None:
    lending = pool(caches=2)
    pin = pinned(lending)
    assert ask(lending, keys((1, 40), (7, 90))) == 40
    assert ask(lending, np.concatenate([PREFIX, keys((8, 60))])) == 100
    assert pin.entry is not None


def test_a_longer_request_copies_it() -> None:
    lending = pool(caches=4, context=512)
    pin = pinned(lending)
    first = pin.entry
    assert ask(lending, np.concatenate([PREFIX, keys((8, 300))]), tokens=450) == 100
    assert pin.entry is first


def test_it_goes_with_the_last_that_holds_it() -> None:
    lending = pool(caches=2)
    first, second = pinned(lending), lending.pin(PREFIX, 200, NOTHING)
    assert second.entry is first.entry
    del first
    ask(lending, keys((5, 150)))
    ask(lending, keys((6, 150)))
    assert ask(lending, np.concatenate([PREFIX, keys((8, 60))])) == 100
    del second
    ask(lending, keys((5, 150)))
    ask(lending, keys((6, 150)))
    assert ask(lending, np.concatenate([PREFIX, keys((9, 60))])) == 0


def test_what_leaves_no_room_for_a_request_is_refused() -> None:
    with pytest.raises(KVBudgetExceeded, match=r"raise `model.kv_cache_mb`"):
        pool(caches=1).pin(PREFIX, 200, NOTHING)
    lending = pool(caches=2)
    pin = pinned(lending)
    with pytest.raises(KVBudgetExceeded):
        lending.pin(keys((2, 100)), 200, NOTHING)
    assert ask(lending, np.concatenate([pin.keys, keys((8, 60))])) == 100


def test_a_full_device_takes_it_and_it_comes_back() -> None:
    """Nothing else could go, and nobody is there to wait for."""
    lending = pool(caches=2)
    pin = pinned(lending)
    lending.shrink(256)
    assert lending.statistics().caches == 0
    assert ask(lending, keys((5, 150))) == 0
    again = np.concatenate([PREFIX, keys((8, 60))])
    assert ask(lending, again) == 0
    assert pin.entry is not None
    assert ask(lending, keys((6, 150))) == 0, "it is not waited for"
    assert ask(lending, np.concatenate([PREFIX, keys((9, 60))])) == 0


def prompts(engine: Engine) -> tuple[Prompt, list[Prompt]]:
    """A prefix with a picture in it, and prompts that go on behind it."""
    picture = np.random.default_rng(1).integers(0, 255, (56, 84, 3), np.uint8)
    shown = [Message("system", ("Say what you see.",)), Message("user", (picture,)), Message("assistant", ("A part.",))]
    asked = [engine.tokenizer.encode_chat([*shown, Message("user", (text,))]) for text in ("And now?", "What now?")]
    ids = asked[0].ids
    end = int(np.flatnonzero(ids == engine.tokenizer.eos_id)[0]) + 1
    return Prompt(ids[:end], asked[0].pixels), asked


def answer(engine: Engine, asked: Prompt, pin: Pin | None) -> tuple[tuple[int, ...], int]:
    with engine.sequence(asked, reserve=6, pin=pin) as sequence:
        return engine.generate(sequence, max_tokens=6, sampling=GREEDY).ids, sequence.counts.reused


def test_answers_are_those_of_an_engine_without_it(float_bundle: Path, float_engine: Engine) -> None:
    prefix, asked = prompts(float_engine)
    engine = Engine.open(float_bundle, threads=1, limits=Limits(capacity=512))
    pin = engine.pin(prefix, reserve=100)
    for prompt in asked:
        float_engine.pool.clear()
        said, reused = answer(engine, prompt, pin)
        assert said == answer(float_engine, prompt, None)[0]
        assert reused >= len(prefix.ids)


@pytest.mark.parametrize("failure", [NotFinite, DeviceOutOfMemory])
def test_a_failure_costs_one_prefill(float_bundle: Path, failure: type[Exception]) -> None:
    engine = Engine.open(float_bundle, threads=1, limits=Limits(capacity=512))
    prefix, (first, second) = prompts(engine)
    pin = engine.pin(prefix, reserve=100)
    with pytest.raises(failure), engine.sequence(first, reserve=6, pin=pin):
        raise failure("it has failed")
    assert answer(engine, first, pin)[1] == 0
    assert answer(engine, second, pin)[1] >= len(prefix.ids)
    assert pin.entry is not None
