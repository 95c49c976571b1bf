from __future__ import annotations

import shutil
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest

from lineside.runtime.assistant import ask
from lineside.runtime.bundle import file_sha256
from lineside.runtime.chat import Message, Prompt
from lineside.runtime.engine.engine import Engine, Limits
from lineside.runtime.engine.sampling import GREEDY, Sampling
from lineside.runtime.engine.scheduler import Request
from lineside.runtime.errors import (
    BundleDamaged,
    BundleFormat,
    DeadlineExceeded,
    KVBudgetExceeded,
    NotFinite,
    PictureEmpty,
    PromptTooLong,
    RequestCancelled,
)
from lineside.runtime.inspection.inspector import Inspector
from lineside.runtime.inspection.task import InspectionTask
from lineside.runtime.text.vocabulary import TokenizerLater
from tests.support.bundles import edit_manifest

HELLO = [Message("user", ("Is the belt running?",))]
NOISE = np.random.default_rng(0).integers(0, 256, (30, 30, 3), np.uint8)


def prompt_of(engine: Engine) -> Prompt:
    return engine.tokenizer.encode_chat(HELLO)


def generate(engine: Engine, tokens: int, sampling: Sampling = GREEDY) -> tuple[int, ...]:
    with engine.sequence(prompt_of(engine), reserve=tokens) as sequence:
        return engine.generate(sequence, max_tokens=tokens, sampling=sampling).ids


def test_budget_ends_generation(random_engine: Engine) -> None:
    with random_engine.sequence(prompt_of(random_engine), reserve=10) as sequence:
        generation = random_engine.generate(sequence, max_tokens=10, sampling=GREEDY)
    assert (len(generation.ids), generation.finish_reason) == (10, "length")


def test_a_tokenizer_that_is_being_made_already_is_taken(random_bundle: Path) -> None:
    """What only an answer under a grammar needs waits for one."""
    tokenizer = TokenizerLater(random_bundle / "tekken.json")
    tokenizer.begin()
    engine = Engine.open(random_bundle, threads=1, tokenizer=tokenizer)
    assert engine.tokenizer is tokenizer.made()
    assert generate(engine, 2)
    assert "_llg_tokenizer" not in vars(engine.grammars)


def test_a_tokenizer_is_the_one_that_was_verified(random_bundle: Path, tmp_path: Path) -> None:
    """However long after: a file that was put in its place would make other tokens of a text."""
    bundle = Path(shutil.copytree(random_bundle, tmp_path / "bundle"))
    engine = Engine.open(bundle, threads=1)
    with (bundle / "tekken.json").open("a") as file:
        file.write("\n")
    with pytest.raises(BundleDamaged, match="another file than when the bundle was opened"):
        _ = engine.tokenizer


def test_an_answer_of_token_ids_makes_no_tokenizer(random_bundle: Path) -> None:
    """Nor does it end elsewhere: the end token is known without."""
    engine, prompt = Engine.open(random_bundle, threads=1), Prompt(np.arange(300, 316))
    with engine.sequence(prompt, reserve=6) as sequence:
        ids = engine.generate(sequence, max_tokens=6, sampling=GREEDY).ids
    assert isinstance(engine._tokenizer, TokenizerLater)
    assert engine._tokenizer._making is None
    numbers = engine._tokenizer.numbers()
    assert numbers == (engine.tokenizer.vocab_size, engine.tokenizer.eos_id)
    with engine.sequence(prompt, reserve=6) as sequence:
        assert engine.generate(sequence, max_tokens=6, sampling=GREEDY).ids == ids


def test_a_file_that_is_no_tokenizer_is_told_at_the_start(random_bundle: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(random_bundle, tmp_path / "bundle"))
    (copy / "tekken.json").write_text("{}")
    size, digest = 2, file_sha256(copy / "tekken.json")
    edit_manifest(copy, lambda manifest: manifest["files"]["tekken.json"].update(bytes=size, sha256=digest))
    with pytest.raises(BundleFormat, match="not a Tekken tokenizer"):
        Engine.open(copy, threads=1)


def test_steps_equal_one_prefill(random_engine: Engine) -> None:
    """Greedy tokens decoded one by one are those that a prefill over all of them predicts."""
    ids = generate(random_engine, 8)
    prompt = prompt_of(random_engine)
    for length in range(8):
        so_far = np.concatenate([prompt.ids, np.asarray(ids[:length], np.int64)])
        with random_engine.sequence(Prompt(so_far), reserve=1) as sequence:
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
    cancelled = False
    with random_engine.sequence(
        prompt_of(random_engine), reserve=50, request=Request(cancelled=lambda: cancelled)
    ) as sequence:
        decoding = random_engine.decode(sequence, max_tokens=50, sampling=GREEDY)
        ids = []
        for token in decoding:
            ids.append(token)
            cancelled = len(ids) == 3
    assert (len(ids), decoding.finish_reason) == (3, "cancelled")


def test_a_deadline_ends_generation_between_tokens(random_engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = [1000.0]
    monkeypatch.setattr("lineside.runtime.engine.scheduler.time", SimpleNamespace(monotonic=lambda: seconds[0]))
    request = Request(deadline=1010.0)
    with random_engine.sequence(prompt_of(random_engine), reserve=900, request=request) as sequence:
        decoding = random_engine.decode(sequence, max_tokens=900, sampling=Sampling(5.0))
        ids = []
        for token in decoding:
            ids.append(token)
            seconds[0] += 1.0
    assert decoding.finish_reason == "deadline"
    assert len(ids) == 10


def test_a_request_that_is_late_or_cancelled_never_starts(random_engine: Engine) -> None:
    prompt = prompt_of(random_engine)
    for request, error in (
        (Request(deadline=time.monotonic() - 1), DeadlineExceeded),
        (Request(cancelled=lambda: True), RequestCancelled),
    ):
        with pytest.raises(error), random_engine.sequence(prompt, reserve=1, request=request):
            pytest.fail("it started")
    assert len(generate(random_engine, 3)) == 3


def test_end_token_stops(random_engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = generate(random_engine, 6)
    monkeypatch.setattr(random_engine.tokenizer, "eos_id", ids[4])
    first = ids.index(ids[4])
    assert generate(random_engine, 6) == ids[:first]


def test_a_prompt_that_does_not_fit_is_refused(random_bundle: Path) -> None:
    engine = Engine.open(random_bundle, threads=1, limits=Limits(capacity=64))
    long = [Message("user", ("word " * 100,))]
    with pytest.raises(PromptTooLong, match="the context holds 64"):
        ask(engine, long)
    assert ask(engine, HELLO, max_tokens=4).counts.generated == 4  # still usable


def test_a_prompt_that_needs_too_much_memory_is_refused_before_it_is_taken(random_bundle: Path) -> None:
    engine = Engine.open(random_bundle, threads=1, limits=Limits(kv_cache_bytes=120_000))
    long = [Message("user", ("word " * 100,))]
    with pytest.raises(KVBudgetExceeded, match=r"need 0\.\d MB of KV cache, the engine may use 0\.1 MB"):
        ask(engine, long)
    assert engine.pool.statistics().bytes == 0
    assert ask(engine, HELLO, max_tokens=4).counts.generated == 4


def test_the_cache_end_is_a_budget(random_bundle: Path) -> None:
    engine = Engine.open(random_bundle, threads=1, limits=Limits(capacity=64))
    answer = ask(engine, HELLO, max_tokens=1000, sampling=GREEDY)
    assert answer.counts.prompt + answer.counts.generated == 64
    assert answer.finish_reason == "length"


def test_damaged_weights_are_noticed(random_bundle: Path) -> None:
    engine = Engine.open(random_bundle, threads=1)
    prompt = engine.tokenizer.encode_chat([Message("user", ("Is the belt running? " * 10,))])

    def poisoned() -> None:
        with engine.sequence(prompt, reserve=5) as sequence:
            sequence.logits[:] = np.nan
            engine.generate(sequence, max_tokens=5, sampling=GREEDY)

    with pytest.raises(NotFinite):
        poisoned()
    for reused in (0, len(prompt.ids) - 1):  # nothing of the poisoned cache is used again, and all of the next one
        with engine.sequence(prompt, reserve=5) as sequence:
            assert sequence.counts.reused == reused
            assert len(engine.generate(sequence, max_tokens=5, sampling=GREEDY).ids) == 5


@pytest.mark.parametrize(
    "picture",
    [
        np.zeros((0, 10, 3), np.uint8),
        np.zeros((10, 0, 3), np.uint8),
        np.zeros((10, 10), np.uint8),
        np.zeros((10, 10, 4), np.uint8),
        np.zeros((10, 10, 3), np.float32),
    ],
)
def test_a_picture_without_pixels_is_refused(random_engine: Engine, picture: npt.NDArray[Any]) -> None:
    inspector = Inspector(random_engine, InspectionTask(("pitting",), part="ball screw"))
    with pytest.raises(PictureEmpty, match="at least one pixel"):
        inspector.inspect(picture)
    assert inspector.inspect(np.zeros((1, 1, 3), np.uint8)).verdict


def test_damaged_weights_give_a_typed_error_and_no_crash(random_bundle: Path, tmp_path: Path) -> None:
    """NaN in the scales of a layer, as a failing disk might leave them, behind the back of the hashes."""
    shutil.copytree(random_bundle, tmp_path / "bundle")
    graph = onnx.load(tmp_path / "bundle" / "decoder.onnx", load_external_data=False).graph
    scales = next(tensor for tensor in graph.initializer if tensor.name.endswith("mlp.down.scales"))
    offset = next(int(entry.value) for entry in scales.external_data if entry.key == "offset")
    with (tmp_path / "bundle" / "decoder.data").open("r+b") as file:
        file.seek(offset)
        file.write(np.full(64, np.nan, np.float32).tobytes())
    edit_manifest(
        tmp_path / "bundle",
        lambda said: said["files"]["decoder.data"].update(sha256=file_sha256(tmp_path / "bundle" / "decoder.data")),
    )
    engine = Engine.open(tmp_path / "bundle", threads=1)
    for _ in range(2):
        with pytest.raises(NotFinite, match="lineside check"):
            ask(engine, HELLO, max_tokens=4)
        with pytest.raises(NotFinite):
            Inspector(engine, InspectionTask(("pitting",), part="ball screw")).inspect(NOISE)
    assert engine.pool.statistics().busy == 0


def test_a_prompt_may_fill_the_context_to_its_end(random_bundle: Path) -> None:
    engine = Engine.open(random_bundle, threads=1, limits=Limits(capacity=10**9))
    length = engine.bundle.manifest.context_length
    assert engine.capacity == length
    ids = np.random.default_rng(0).integers(100, 600, length)
    with engine.sequence(Prompt(ids), reserve=0) as sequence:
        assert sequence.past == length
        with pytest.raises(PromptTooLong):
            sequence.extend(ids[:1])
