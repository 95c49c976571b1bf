"""Sessions on TensorRT engines without a GPU: the same code on graphs that ONNX Runtime's CPU kernels run."""

from __future__ import annotations

import gc
import random
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lineside.export.bundle.options import ExportOptions
from lineside.export.bundle.writer import export_bundle
from lineside.export.exported import Exported
from lineside.export.graph.standard_graphs import decoder_graph, save_graph
from lineside.runtime.bundle import Bundle, open_bundle
from lineside.runtime.chat import Prompt
from lineside.runtime.engine.engine import Engine, Limits
from lineside.runtime.engine.sampling import GREEDY
from lineside.runtime.errors import DeviceFailed, DeviceOutOfMemory, DeviceUnusable
from lineside.runtime.grammar.constraint import Grammars
from lineside.runtime.sessions.interface import Decoder, Vision
from lineside.runtime.sessions.selftest import relative_error
from lineside.runtime.sessions.tensorrt.engine_files import FORMAT, EngineSet
from lineside.runtime.sessions.tensorrt.library import import_tensorrt
from lineside.runtime.sessions.tensorrt.log import shared_logger
from lineside.runtime.sessions.tensorrt.program import TensorRTProgram
from lineside.runtime.sessions.tensorrt.session import DECODE, PREFILL, TensorRTDecoder
from lineside.runtime.sessions.try_out import try_out
from lineside.runtime.text.tokenizer import Tokenizer
from tests.support.checkpoints import CASES, copy_checkpoint
from tests.support.cuda import EmulatedCuda, EmulatedMemory
from tests.support.device_sessions import (
    CHUNK,
    EXACT,
    HALF_TOLERANCE,
    LENGTHS,
    TOLERANCE,
    images_of,
    new,
    pixels,
    reference,
    run,
    tensorrt,
    worst,
)
from tests.support.tensorrt import FakeTensorRT


@pytest.fixture(scope="module", params=CASES)
def bundle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("device")
    return open_bundle(export_bundle(copy_checkpoint(request.param, folder), folder / "bundle", ExportOptions(EXACT)))


def test_tensorrt_sessions_agree_with_the_ort_dialect(bundle: Bundle, tmp_path: Path) -> None:
    vision, decoder = reference(bundle)
    tower, other, programs = tensorrt(bundle, tmp_path, EmulatedMemory())
    for side in (2, 1):
        picture = pixels(bundle, side, 3)
        assert relative_error(tower.embed(picture), vision.embed(picture)) < TOLERANCE
        assert relative_error(tower.features(picture), vision.features(picture)) < TOLERANCE
    images = images_of(vision, bundle)
    assert worst(run(other, bundle, images), run(decoder, bundle, images)) < TOLERANCE
    assert programs[64].runs == [PREFILL, PREFILL, *[DECODE] * 6]
    assert programs[128].runs == [PREFILL, DECODE]


def test_a_short_cache_does_not_narrow_the_prefill_of_a_long_one(bundle: Bundle, tmp_path: Path) -> None:
    _, decoder, _ = tensorrt(bundle, tmp_path, EmulatedMemory(), chunk=512)
    _, wanted = reference(bundle)
    assert decoder.prefill_tokens == LENGTHS[1]
    for length in LENGTHS:
        ids = np.random.default_rng(length).integers(100, bundle.manifest.vocab_size, size=length)
        found = decoder.prefill(decoder.allocate(length), ids, 0)
        assert relative_error(found, wanted.prefill(wanted.allocate(length), ids, 0)) < TOLERANCE


def test_tensorrt_sessions_in_float16(bundle: Bundle, tmp_path: Path) -> None:
    vision, decoder = reference(bundle)
    tower, other, _ = tensorrt(bundle, tmp_path, EmulatedMemory(), "float16")
    picture = pixels(bundle, 2, 3)
    assert relative_error(tower.embed(picture), vision.embed(picture)) < HALF_TOLERANCE
    images = images_of(vision, bundle)
    assert worst(run(other, bundle, images), run(decoder, bundle, images)) < HALF_TOLERANCE


Open = Callable[[Bundle, Path, EmulatedMemory], tuple[Vision, Decoder]]


def test_the_likeliest_tokens_are_found_where_the_logits_are(bundle: Bundle, tmp_path: Path) -> None:
    cuda, vocab = EmulatedCuda(), bundle.manifest.vocab_size
    _, decoder, _ = tensorrt(bundle, tmp_path, EmulatedMemory(cuda))
    cache = decoder.allocate(LENGTHS[0])
    ids = np.random.default_rng(8).integers(100, vocab, size=16)
    decoder.prefill(cache, ids[:8], 0)
    for length in (1, 8, 1):
        rows = decoder.decode(cache, ids[8 : 8 + length].tolist(), 8).copy()
        before = cuda.pulled_bytes
        assert decoder.likeliest(cache, ids[8 : 8 + length].tolist(), 8) == rows.argmax(axis=1).tolist()
        assert cuda.pulled_bytes - before == 12 * length
        np.testing.assert_array_equal(decoder.row(cache, length - 1), rows[-1])
        assert cuda.pulled_bytes - before == 12 * length + 4 * vocab
    image = np.full((1, bundle.manifest.hidden_size), np.nan, np.float32)
    decoder.prefill(cache, np.asarray([bundle.manifest.image_token_id]), 0, image, logits=False)
    assert decoder.likeliest(cache, [int(ids[0])], 1) == [-1], "a damaged weight is noticed"


@pytest.mark.parametrize("schema", [None, {"type": "object", "properties": {"speed": {"type": "integer"}}}])
def test_greedy_answers_need_few_logits_on_the_host(bundle: Bundle, tmp_path: Path, schema: Any) -> None:
    """The same answers, though the token that is likeliest of all is seldom one that a grammar allows here."""
    tokenizer, cuda, tokens = Tokenizer(bundle.file("tekken.json")), EmulatedCuda(), 24
    wanted = Engine(bundle, tokenizer, *reference(bundle), Limits(capacity=120))
    found = Engine(bundle, tokenizer, *tensorrt(bundle, tmp_path, EmulatedMemory(cuda))[:2], Limits(capacity=120))
    answers = []
    for engine in (wanted, found):
        constraint = None if schema is None else engine.grammars.json(schema)
        with engine.sequence(Prompt(np.arange(100, 140)), reserve=2 * tokens) as sequence:
            before = cuda.pulled_bytes
            parts = [engine.generate(sequence, max_tokens=tokens, sampling=GREEDY, constraint=constraint)]
            pulled = cuda.pulled_bytes - before
            parts.append(engine.generate(sequence, max_tokens=4, sampling=GREEDY))
            answers.append((parts, int(sequence.logits.argmax())))
    assert answers[0] == answers[1]
    if schema is None:
        assert pulled < 4 * bundle.manifest.vocab_size


def test_a_mask_and_a_single_question_agree(bundle: Bundle) -> None:
    """Whether a grammar takes a token is the same asked for one as for all."""
    grammars = Grammars(Tokenizer(bundle.file("tekken.json")))
    constraint, rng = grammars.json({"type": "array", "items": {"enum": ["pass", 17, "größe"]}}), random.Random(0)
    while not constraint.finished:
        mask = constraint.mask()
        for token in (*np.flatnonzero(mask).tolist(), *rng.sample(range(len(mask)), 50)):
            if token != grammars._tokenizer.eos_id:
                assert (constraint.count_allowed([token]) == 1) == mask[token]
        constraint.accept([rng.choice(np.flatnonzero(mask).tolist())])


def decoder_of(bundle: Bundle, folder: Path, memory: EmulatedMemory, module: FakeTensorRT) -> TensorRTDecoder:
    programs = {}
    for length in LENGTHS:
        own = new(folder / str(length))
        file = own / f"decoder.{length}.engine"
        file.write_text(str(save_graph(decoder_graph(Exported(bundle), length), own)))
        programs[length] = TensorRTProgram(module, file, memory)
    engines = EngineSet(FORMAT, bundle.sha256, "sm89", "tensorrt", "1", "float32", CHUNK, LENGTHS, {})
    return TensorRTDecoder(bundle.manifest, engines, memory, programs)


def test_what_tensorrt_complains_of_is_passed_on(bundle: Bundle, tmp_path: Path) -> None:
    """Full memory costs a request, anything else may mean that the GPU is gone."""
    cuda = EmulatedCuda()
    memory, module = EmulatedMemory(cuda), FakeTensorRT(cuda)
    decoder = decoder_of(bundle, tmp_path, memory, module)
    cache = decoder.allocate(LENGTHS[0])
    full = "[defaultAllocator.cpp::allocate::57] Error Code 1: Cuda Runtime (out of memory)"
    module.complaint = full
    with pytest.raises(DeviceOutOfMemory, match=r"no memory to run decoder.64.engine .*lower `model.capacity`"):
        decoder.decode(cache, [100], 0)
    with pytest.raises(DeviceOutOfMemory, match="does not fit into the GPU's memory"):
        TensorRTProgram(module, tmp_path / "64" / "decoder.64.engine", memory)
    module.complaint = "Error Code 1: Cuda Runtime (an illegal memory access was encountered)"
    with pytest.raises(DeviceFailed, match=r"decoder.64.engine failed: Error Code 1: .*illegal") as caught:
        decoder.decode(cache, [100], 0)
    assert not isinstance(caught.value, DeviceOutOfMemory)
    assert full not in str(caught.value)
    module.complaint = ""
    assert np.isfinite(decoder.decode(cache, [100], 0)).all()


@pytest.mark.parametrize("length", LENGTHS)
def test_every_engine_is_tried_out(bundle: Bundle, tmp_path: Path, length: int) -> None:
    _, decoder, programs = tensorrt(bundle, tmp_path, EmulatedMemory())
    try_out(bundle, None, decoder)
    assert all(program.runs for program in programs.values())
    programs[length].bind = lambda *_, **_named: lambda: None  # type: ignore[method-assign]
    with pytest.raises(DeviceUnusable, match="computes nothing"):
        try_out(bundle, None, decoder)


def test_compiled_kernels_are_kept_for_the_next_start(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cuda = EmulatedCuda()
    memory, module = EmulatedMemory(cuda), FakeTensorRT(cuda)
    decoder_of(bundle, tmp_path, memory, module)
    file, kernels = (tmp_path / "64" / f"decoder.64.{end}" for end in ("engine", "kernels"))
    for damage, compiled in ((None, 2), (b"of another driver", 3)):
        if damage is not None:
            kernels.write_bytes(damage)
        for _ in range(2):
            TensorRTProgram(module, file, memory)
            assert module.compiled == compiled
            assert kernels.read_bytes() == b"kernels 1"
    kernels.unlink()
    monkeypatch.setattr(Path, "write_bytes", _refuse)
    TensorRTProgram(module, file, memory)
    assert not kernels.exists()


def _refuse(*_: object) -> None:
    raise PermissionError("read-only")


def test_a_program_runs_plain_and_recorded_passes(bundle: Bundle, tmp_path: Path) -> None:
    """Single tokens are replayed whatever ran in between: drafts, chunks of prompts, and other caches."""
    cuda = EmulatedCuda()
    memory, module = EmulatedMemory(cuda), FakeTensorRT(cuda)
    decoder = decoder_of(bundle, tmp_path, memory, module)
    vision, wanted = reference(bundle)
    images = images_of(vision, bundle)
    for _ in range(2):
        assert worst(run(decoder, bundle, images), run(wanted, bundle, images)) < TOLERANCE
    assert module.specialized == [*["lazy"] * 4, *["eager"] * 2], "nobody waits for kernels but for a recording"
    assert cuda.graphs_launched == 8, "the second token of a cache and all behind it"
    gc.collect()
    memory.free_unused()
    assert not any(cuda._graphs), "recordings go with their caches"


def test_a_decoder_goes_with_its_last_reference(bundle: Bundle, tmp_path: Path) -> None:
    """And its engines with it, which are as large as the model; the collector may come late."""
    _, decoder, programs = tensorrt(bundle, tmp_path, EmulatedMemory())
    assert decoder.picker is decoder
    decoder.likeliest(decoder.allocate(LENGTHS[0]), [100], 0)
    engines = [weakref.ref(program) for program in programs.values()]
    gc.disable()
    try:
        del decoder, programs
        assert all(engine() is None for engine in engines)
    finally:
        gc.enable()


def test_building_and_running_share_one_logger() -> None:
    """TensorRT keeps the first that it is given, and some errors reach no other."""
    module, _, _ = import_tensorrt()
    logger = shared_logger(module)
    assert shared_logger(module) is logger
    logger.errors.clear()
    for number in range(20):
        logger.log(module.ILogger.ERROR, f"error {number}")
        logger.log(module.ILogger.WARNING, "no error")
    assert logger.errors[-1] == "error 19"
    assert len(logger.errors) == 8
    logger.errors.clear()
