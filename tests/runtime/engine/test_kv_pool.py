"""The prefix cache: faster, and never another answer."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lineside.runtime.chat import Message, Prompt
from lineside.runtime.engine.engine import Engine, Limits
from lineside.runtime.engine.kv_pool import Keys, KVBudget, KVPool, common_prefix
from lineside.runtime.engine.sampling import GREEDY
from lineside.runtime.engine.scheduler import Priority, Request
from lineside.runtime.errors import DeadlineExceeded, DeviceFailed, RequestCancelled
from tests.support.decoders import PlainDecoder
from tests.support.wait import LIMIT_S, until

SYSTEMS = (
    "Inspect the part for: pitting. Answer in JSON, with boxes, and say unsure rather than guess.",
    "Inspect the part for: pitting. Answer in JSON, with boxes, and then stop the line.",
    "You control a production line. Call a function, or say that none fits.",
)
ANSWER = 6


def picture(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (56, 84, 3), dtype=np.uint8)


def prompt(engine: Engine, system: int, pictures: tuple[int, ...], text: str) -> Prompt:
    user = Message("user", (*(picture(seed) for seed in pictures), text))
    return engine.tokenizer.encode_chat([Message("system", (SYSTEMS[system],)), user])


def answer(engine: Engine, asked: Prompt) -> tuple[tuple[int, ...], int]:
    with engine.sequence(asked, reserve=ANSWER) as sequence:
        ids = engine.generate(sequence, max_tokens=ANSWER, sampling=GREEDY).ids
        return ids, sequence.counts.reused


REQUESTS = st.lists(
    st.tuples(
        st.integers(0, len(SYSTEMS) - 1),
        st.lists(st.integers(0, 2), max_size=2).map(tuple),
        st.sampled_from(["", "Look closely.", "Look closely at the left edge.", "Stop!"]),
    ),
    min_size=2,
    max_size=7,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(requests=REQUESTS, caches=st.sampled_from([1.0, 1.6, 2.5, 6.0]))
def test_any_sequence_of_requests_is_answered_as_by_a_fresh_engine(
    float_bundle: Path, fresh_answers: dict[object, tuple[int, ...]], requests: list[object], caches: float
) -> None:
    fresh = Engine.open(float_bundle, threads=1)
    budget = int(caches * fresh.pool.cost(256))
    engine = Engine.open(float_bundle, threads=1, limits=Limits(kv_cache_bytes=budget))
    for request in requests:
        asked = prompt(engine, *request)  # type: ignore[misc]
        if request not in fresh_answers:
            fresh.pool.clear()
            fresh_answers[request] = answer(fresh, asked)[0]
        assert answer(engine, asked)[0] == fresh_answers[request]
        assert engine.pool.statistics().bytes <= engine.pool.budget.bytes


@pytest.fixture(scope="module")
def fresh_answers() -> dict[object, tuple[int, ...]]:
    return {}


def test_a_shared_prefix_is_computed_once(float_bundle: Path) -> None:
    engine = Engine.open(float_bundle, threads=1)
    first, second = (prompt(engine, 0, (seed,), "") for seed in (1, 2))
    assert answer(engine, first)[1] == 0
    shared = common_prefix(first.ids, second.ids)
    image = int(np.flatnonzero(first.ids == engine.bundle.manifest.image_token_id)[0])
    assert shared > image, "the pictures have the same number of tokens"
    assert answer(engine, second)[1] == image  # up to the picture, and not into it
    assert answer(engine, second)[1] == len(second.ids) - 1  # the same picture again: all but the last token
    assert engine.pool.statistics().caches == 1


def test_commands_keep_their_prefix_while_frames_come(float_bundle: Path) -> None:
    engine = Engine.open(float_bundle, threads=1)
    for seed in range(5):
        answer(engine, prompt(engine, 0, (seed,), ""))
        reused = answer(engine, prompt(engine, 2, (), f"Stop belt {seed}"))[1]
        assert (reused > 16) == (seed > 0)
    assert engine.pool.statistics().evictions == 0


def test_the_least_recently_used_cache_goes_first(float_bundle: Path) -> None:
    budget = 2 * Engine.open(float_bundle, threads=1).pool.cost(256)
    engine = Engine.open(float_bundle, threads=1, limits=Limits(kv_cache_bytes=budget))
    texts = ["".join(chr(97 + (i * step) % 26) + " " for i in range(40)) for step in (1, 3, 5)]
    prompts = [engine.tokenizer.encode_chat([Message("user", (text,))]) for text in texts]
    for asked in (prompts[0], prompts[1], prompts[0], prompts[2]):  # 1 is the oldest when 2 needs room
        answer(engine, asked)
    assert engine.pool.statistics().evictions == 1
    assert answer(engine, prompts[0])[1] > 16
    assert answer(engine, prompts[1])[1] == 0


def test_a_request_waits_for_room_until_its_deadline(float_bundle: Path) -> None:
    budget = Engine.open(float_bundle, threads=1).pool.cost(256)
    engine = Engine.open(float_bundle, threads=1, limits=Limits(kv_cache_bytes=budget))
    asked = prompt(engine, 2, (), "Stop!")
    with engine.sequence(asked, reserve=ANSWER):
        late = Request(deadline=time.monotonic() + 0.2)
        with pytest.raises(DeadlineExceeded), engine.sequence(asked, reserve=ANSWER, request=late):
            pass
        waiting = threading.Thread(target=answer, args=(engine, asked))
        waiting.start()
        until(lambda: len(engine.pool._queue) == 1)
        assert waiting.is_alive()
    waiting.join(LIMIT_S)
    assert not waiting.is_alive()


@pytest.mark.parametrize("other", [Priority.FRAME, Priority.COMMAND])
def test_a_guest_gives_its_cache_up_to_who_waits_for_it(float_bundle: Path, other: Priority) -> None:
    """Not to another guest, and nobody else gives one up."""
    budget = Engine.open(float_bundle, threads=1).pool.cost(256)
    engine = Engine.open(float_bundle, threads=1, limits=Limits(kv_cache_bytes=budget))
    asked = prompt(engine, 2, (), "Stop!")

    def take(priority: Priority) -> None:
        with engine.sequence(asked, reserve=ANSWER, request=Request(priority)):
            pass

    others = [threading.Thread(target=take, args=(priority,)) for priority in (Priority.GUEST, other, Priority.COMMAND)]
    with engine.sequence(asked, reserve=ANSWER, request=Request(Priority.GUEST)) as guest:
        others[0].start()
        until(lambda: len(engine.pool._queue) == 1)
        assert guest.request.problem() is None
        others[1].start()
        until(lambda: len(engine.pool._queue) == 2)
        assert isinstance(guest.request.problem(), RequestCancelled)
    with engine.sequence(asked, reserve=ANSWER, request=Request(Priority.FRAME)) as frame:
        others[2].start()
        until(lambda: engine.pool._queue.has_before(Priority.FRAME))
        assert frame.request.problem() is None
    for thread in others:
        thread.join(LIMIT_S)
        assert not thread.is_alive()


def test_a_picture_seen_before_is_not_embedded_again(float_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine.open(float_bundle, threads=1)
    looked: list[object] = []
    vision = engine.vision_cache
    assert vision is not None
    embed = vision._vision.embed

    def counted(pixels: np.ndarray) -> np.ndarray:
        looked.append(pixels)
        return embed(pixels)

    monkeypatch.setattr(vision._vision, "embed", counted)
    for system in (0, 2, 0):
        answer(engine, prompt(engine, system, (7,), "Look."))
    assert len(looked) == 1
    answer(engine, prompt(engine, 0, (8,), "Look."))
    assert len(looked) == 2


def test_a_growing_conversation_takes_its_prefix_to_larger_caches(float_bundle: Path) -> None:
    """Each turn repeats all earlier ones; the budget holds one large cache, so the small one is copied and goes."""
    fresh = Engine.open(float_bundle, threads=1)
    engine = Engine.open(float_bundle, threads=1, limits=Limits(kv_cache_bytes=fresh.pool.cost(512)))
    messages = []
    reused_before = 0
    for turn in range(6):
        messages += [Message("user", (f"Part {turn}: " + "look at the left edge, then at the right one. " * 2,))]
        asked = engine.tokenizer.encode_chat(messages)
        fresh.pool.clear()
        ids, reused = answer(engine, asked)
        assert ids == answer(fresh, asked)[0]
        assert reused >= reused_before
        reused_before = reused
        messages += [Message("assistant", ("noted",))]
        assert engine.pool.statistics().bytes <= engine.pool.budget.bytes
    assert reused_before > 256
    assert engine.pool.statistics().evictions > 0


def test_an_idle_cache_that_fits_is_taken_before_others_are_given_up(float_bundle: Path) -> None:
    """The holder of the prefix is at hand: no other cache goes for it."""
    budget = 2 * Engine.open(float_bundle, threads=1).pool.cost(256)
    engine = Engine.open(float_bundle, threads=1, limits=Limits(kv_cache_bytes=budget))
    for seed in range(4):
        answer(engine, prompt(engine, 0, (seed,), ""))
        answer(engine, prompt(engine, 2, (), f"Stop belt {seed}"))
    assert engine.pool.statistics().evictions == 0


def text_prompt(engine: Engine, *parts: str) -> Prompt:
    """A prompt of well over one chunk, whose first part is the same for all that begin with it."""
    return engine.tokenizer.encode_chat([Message("user", (" ".join(parts),))])


COMMON = "Inspect the part for pitting and answer in JSON. " * 2
ONE = "The left edge is worn, the right one is not, and the middle was never looked at. " * 3
OTHER = "Stop the belt, wait for ten seconds, and then start the press beside it again. " * 3


def test_a_cache_under_way_is_not_taken_for_what_it_held_before(float_bundle: Path) -> None:
    """The second request takes the first one's cache over and writes behind their common prefix. The third repeats the
    first while the second is under way: what stood there is gone.
    """
    engine, fresh = (Engine.open(float_bundle, threads=1) for _ in range(2))
    first, second = text_prompt(engine, COMMON, ONE), text_prompt(engine, COMMON, OTHER)
    wanted, _ = answer(fresh, first)
    answer(engine, first)
    with engine.sequence(second, reserve=ANSWER) as under_way:
        shared = common_prefix(first.ids, second.ids)
        assert (engine.pool.statistics().caches, under_way.counts.reused) == (1, shared)
        assert answer(engine, first) == (wanted, shared)


@pytest.mark.parametrize("chunks", [1, 2])
def test_a_request_that_ends_midway_leaves_what_it_wrote_and_no_more(float_bundle: Path, chunks: int) -> None:
    """It takes a cache over and is cancelled before its second or third chunk; both are asked again then."""
    engine, fresh = (Engine.open(float_bundle, threads=1) for _ in range(2))
    first, second = text_prompt(engine, COMMON, ONE), text_prompt(engine, COMMON, OTHER)
    wanted = [answer(fresh, asked)[0] for asked in (first, second)]
    answer(engine, first)
    whole = engine._decoder.prefill
    passes: list[int] = []

    def prefill(cache: object, ids: Keys, past: int, *rest: object, **options: object) -> object:
        passes.append(len(ids))
        return whole(cache, ids, past, *rest, **options)  # type: ignore[arg-type]

    engine._decoder.prefill = prefill  # type: ignore[method-assign, assignment]
    engine.chunking.tokens = 32
    request = Request(cancelled=lambda: len(passes) >= chunks)
    with pytest.raises(RequestCancelled), engine.sequence(second, reserve=ANSWER, request=request):
        pytest.fail("it was not cancelled")
    shared = common_prefix(first.ids, second.ids)
    written_so_far = shared + 32 * chunks
    assert passes == [32] * chunks
    assert answer(engine, second) == (wanted[1], written_so_far)
    assert answer(engine, first) == (wanted[0], shared)


def test_an_answer_that_is_broken_off_leaves_its_tokens_and_no_more(float_bundle: Path) -> None:
    engine, fresh = (Engine.open(float_bundle, threads=1) for _ in range(2))
    first, second = text_prompt(engine, COMMON, ONE), text_prompt(engine, COMMON, OTHER)
    wanted = [answer(fresh, asked)[0] for asked in (first, second)]
    answer(engine, first)

    def break_off() -> None:
        with engine.sequence(second, reserve=ANSWER) as sequence:
            next(engine.decode(sequence, max_tokens=ANSWER, sampling=GREEDY))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        break_off()
    assert answer(engine, first)[0] == wanted[0]
    assert answer(engine, second)[0] == wanted[1]


def keys(*runs: tuple[int, int]) -> Keys:
    """So many tokens of each kind: `(kind, how many)`."""
    return np.concatenate([np.arange(count) + 1000 * kind for kind, count in runs])


def pool(caches: int) -> tuple[KVPool, PlainDecoder]:
    decoder = PlainDecoder()
    return KVPool(decoder, KVBudget(caches * 256), 1024), decoder


def test_a_lent_cache_is_known_for_what_was_taken_over_only() -> None:
    lending, decoder = pool(caches=3)
    first, _ = lending.acquire(keys((1, 40), (2, 60)), 120, Request())
    lending.release(first, keys((1, 40), (2, 60)))
    second, reused = lending.acquire(keys((1, 40), (3, 60)), 120, Request())
    assert (second, reused) == (first, 40)
    third, reused = lending.acquire(keys((1, 40), (2, 60)), 120, Request())
    assert third is not first
    assert reused == 40
    assert decoder.copied == [40]


def test_what_a_cache_no_longer_holds_is_not_kept_for() -> None:
    """A prefix of 60 was found here once; after a request that used 40 of it and broke off, 40 are left, and somebody
    who has 25 of them takes the cache over, as he would not take over one that is proven to serve 60.
    """
    lending, decoder = pool(caches=3)
    entry, _ = lending.acquire(keys((1, 100)), 120, Request())
    lending.release(entry, keys((1, 100)))
    again, reused = lending.acquire(keys((1, 60), (2, 40)), 120, Request())
    assert (again, reused) == (entry, 60)
    lending.release(entry, keys((1, 60), (2, 40)))
    again, reused = lending.acquire(keys((1, 40), (3, 60)), 120, Request())
    assert (again, reused) == (entry, 40)
    lending.release(entry, keys((1, 40)))
    again, reused = lending.acquire(keys((1, 25), (4, 60)), 120, Request())
    assert (again, reused, decoder.copied) == (entry, 25, [])


def test_a_proven_prefix_is_copied_and_stays() -> None:
    """Somebody who has less than half of it gets a copy, as long as there is room for one."""
    lending, decoder = pool(caches=3)
    entry, _ = lending.acquire(keys((1, 100)), 120, Request())
    lending.release(entry, keys((1, 100)))
    entry, _ = lending.acquire(keys((1, 100), (2, 5)), 120, Request())
    lending.release(entry, keys((1, 100), (2, 5)))
    other, reused = lending.acquire(keys((1, 30), (3, 60)), 120, Request())
    assert other is not entry
    assert (reused, decoder.copied) == (30, [30])
    lending.release(other, keys((1, 30), (3, 60)))
    again, reused = lending.acquire(keys((1, 100), (4, 5)), 120, Request())
    assert (again, reused) == (entry, 100)


def test_what_was_copied_into_a_larger_cache_is_proven_in_the_smaller_one() -> None:
    lending, decoder = pool(caches=4)
    small, _ = lending.acquire(keys((1, 100)), 120, Request())
    lending.release(small, keys((1, 100)))
    large, reused = lending.acquire(keys((1, 100), (2, 200)), 320, Request())
    assert (large is small, reused) == (False, 100)
    lending.release(large, keys((3, 300)))
    other, reused = lending.acquire(keys((1, 30), (4, 60)), 120, Request())
    assert (other is small, reused, decoder.copied) == (False, 30, [100, 30])


def test_a_copy_that_fails_leaves_no_cache_behind() -> None:
    """Or it would be lent to nobody for ever."""
    lending, decoder = pool(caches=2)
    entry, _ = lending.acquire(keys((1, 100)), 120, Request())
    lending.release(entry, keys((1, 100)))
    entry, _ = lending.acquire(keys((1, 100), (2, 5)), 120, Request())
    decoder.problem = DeviceFailed("gone")
    with pytest.raises(DeviceFailed):
        lending.acquire(keys((1, 100), (3, 5)), 120, Request())
    assert (lending.statistics().caches, lending.statistics().busy) == (1, 1)


class Recycling(PlainDecoder):
    """As on a GPU, where a graph was recorded for a cache."""

    def recycle(self, cache: Any) -> bool:
        del cache
        return True


def test_a_cache_of_another_decoder_goes_and_is_not_taken_over() -> None:
    """Two pools under one budget, which has room for one cache."""
    budget = KVBudget(256)
    first, second = (KVPool(Recycling(), budget, 1024) for _ in range(2))
    lent, _ = first.acquire(keys((1, 100)), 120, Request())
    first.release(lent, keys((1, 100)))
    cache = lent.cache
    other, reused = second.acquire(keys((1, 100), (2, 5)), 120, Request())
    assert (other.cache is cache, reused) == (False, 0)
    assert (first.statistics().caches, second.statistics().caches) == (0, 1)
    second.release(other, keys((1, 100)))
    kept = other.cache
    again, _ = second.acquire(keys((3, 100)), 120, Request())
    assert again.cache is kept, "its own serves it again"


def test_a_cleared_pool_knows_nothing_but_of_what_is_lent() -> None:
    lending, decoder = pool(caches=3)
    first, _ = lending.acquire(keys((1, 100)), 120, Request())
    second, _ = lending.acquire(keys((2, 100)), 120, Request())
    lending.release(first, keys((1, 100)))
    lending.release(second, keys((2, 100)))
    assert lending.acquire(keys((2, 100), (3, 5)), 120, Request()) == (second, 100)
    lending.clear()
    assert lending.acquire(keys((1, 100), (3, 5)), 120, Request())[1] == 0
    assert lending.acquire(keys((2, 100), (4, 5)), 120, Request())[1] == 100
    assert decoder.copied == [100]
