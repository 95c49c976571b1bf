"""Figures of Lineside alone: time to verdict with and without what it remembers, KV formats, passes, endings."""

from __future__ import annotations

import json
import statistics
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from rich.progress import track

from lineside.export.graph.int8_cache import FEW_TOKENS
from lineside.runtime.bundle import Bundle
from lineside.runtime.chat import Message, Prompt
from lineside.runtime.defaults import DEFAULT_BUNDLE
from lineside.runtime.engine.engine import Engine
from lineside.runtime.engine.sampling import GREEDY
from lineside.runtime.inspection.gate import Gate
from lineside.runtime.inspection.gate_memory import learn
from lineside.runtime.inspection.inspector import Inspector
from lineside.runtime.inspection.observation import Inspection
from lineside.runtime.inspection.task import InspectionTask
from lineside.runtime.picture import decode_picture
from lineside.runtime.sessions.interface import Decoder
from lineside.runtime.sessions.ort import CPU_GRAPH, OrtDecoder, load_graph
from lineside.runtime.sessions.patch_features import PatchFeatures
from lineside.runtime.timings import FinishReason
from tests.benchmarks import texts
from tests.benchmarks.models import console
from tests.benchmarks.smollm import IM_END, IM_START

PICTURES = sorted(Path("deploy/stations/ballscrew/pictures").glob("*.jpg"))
BOARDS = Path("deploy/stations/boards")
BOARD_FAULTS = ("open", "short", "mousebite", "spur", "spurious_copper", "pinhole")
HELD_OUT = (
    Path("CONTRIBUTING.md"),
    Path("docs/general-model.md"),
    Path("runtime/bundle.py"),
    Path("NOTICE"),
    Path("tests/benchmarks/vehicle/dialogues.jsonl"),
)
HELD_OUT_TOKENS = 448
"""Of each: prose, code, names and JSON, none of it in the sample that scales of an INT8 cache are made from."""
LONG = (Path("README.md"), Path("docs/own-model.md"), Path("docs/phrases.md"), Path("docs/vehicle.md"))
LONG_TOKENS = 4096
"""The last ones are far from where the sample ends."""
ROUNDS = 8
PROMPTS = 200
BUDGET = 256
KINDS = ("What is {}?", "Write a long list about {}.", "Explain {} to a child.", "Repeat: {}, {}, {}, {}, {}.")
TOPICS = """a ball screw, rust, the weather in Berlin,
counting to a hundred, the letter a, a conveyor belt, prime numbers,
a poem about rain, the colours, a recipe for bread, a telephone book, a very long word, zeros and ones, the days
of the week, an empty page, steel, the alphabet, a joke, a camera, nothing, a table of numbers, smileys, a
shopping list, a robot, laughing, a machine that stops, a password, music, the sea, a lamp, a train, winter, a
city, a bridge, a river, a mountain, paint, glass, a drill, a motor, oil, a sensor, a wheel, a bolt, a nut, a
spring, a valve, a pump, a gear, a chain""".replace("\n", " ").split(", ")


def verdict() -> dict[str, tuple[float, float]]:
    """Milliseconds from a JPEG's bytes to its result as JSON with the default model: median and 99th percentile.

    The demo's pictures, `ROUNDS` times each; the gate learnt the good ones of them. And a board with six faults.
    """
    engine = Engine.open(DEFAULT_BUNDLE)
    inspector = Inspector(engine, InspectionTask(("pitting",), part="ball screw"))
    pictures = [path.read_bytes() for path in PICTURES]
    labels = json.loads((PICTURES[0].parent.parent / "labels.json").read_text())
    good = [decode_picture(path.read_bytes()) for path in PICTURES if labels[path.name]["verdict"] == "pass"]
    once = Inspector(engine, InspectionTask(("pitting",), part="ball screw", any_way_up=False))
    features = PatchFeatures()
    gate = Gate(features, learn(features, good).memory)
    inspector.inspect(good[0])
    board = (BOARDS / "board.png").read_bytes()
    reference = decode_picture((BOARDS / "reference.png").read_bytes())
    comparing = Inspector(engine, InspectionTask(BOARD_FAULTS, part="circuit board", reference=reference))

    def gate_alone(data: bytes) -> None:
        found = gate.observe(decode_picture(data))
        json.dumps({"score": found.score, "region": found.region, "verdict": found.verdict})

    def inspect(data: bytes) -> None:
        write(inspector.inspect(decode_picture(data)))

    def inspect_once(data: bytes) -> None:
        write(once.inspect(decode_picture(data)))

    def write(found: Inspection) -> None:
        boxes = [{"type": defect.type, "box": defect.box} for defect in found.defects]
        json.dumps({"verdict": found.verdict, "confidence": found.confidence, "defects": boxes})

    def inspect_board(data: bytes) -> None:
        write(comparing.inspect(decode_picture(data)))

    def measure(
        work: Callable[[bytes], None], prepare: Callable[[bytes], object], given: list[bytes] = pictures
    ) -> tuple[float, float]:
        times = []
        for data in given * ROUNDS:
            prepare(data)
            started = time.perf_counter()
            work(data)
            times.append((time.perf_counter() - started) * 1e3)
        return statistics.median(times), float(np.percentile(times, 99))

    def forget(_data: bytes) -> None:
        engine.pool.clear()
        forget_pictures()

    def forget_pictures(_data: bytes = b"") -> None:
        if engine.vision_cache is not None:
            engine.vision_cache.clear()

    return {
        "nothing remembered": measure(inspect, forget),
        "instruction remembered": measure(inspect, forget_pictures),
        "the same, without test-time augmentation": measure(inspect_once, forget_pictures),
        "the same frame again": measure(inspect, inspect),
        "the gate alone": measure(gate_alone, forget_pictures),
        "a circuit board beside its reference": measure(inspect_board, forget_pictures, [board]),
    }


def kv_formats(folder: Path) -> list[dict[str, Any]]:
    """SmolLM2 over texts of several kinds: what a smaller cache costs in the logits, and in time.

    Each token is computed as a decode step computes it, behind the text itself, whatever was likeliest; once as it
    ships, and once with activations as they are, where the cache is all that differs.
    """
    table = []
    exact, far, shipped = (Agreement() for _ in range(3))
    for name, bundle in (("float32", "bundle"), ("float16", "kv_float16"), ("int8", "kv_int8")):
        engine = Engine.open(folder / bundle)
        encode, bos = engine.tokenizer.encode_text, [engine.tokenizer.bos_id]
        ids_of_texts = [
            np.concatenate([bos, encode(file.read_text(encoding="utf-8"))])[:HELD_OUT_TOKENS] for file in HELD_OUT
        ]
        long = np.concatenate([bos, encode("\n".join(file.read_text(encoding="utf-8") for file in LONG))])[:LONG_TOKENS]
        unrounded = exact_decoder(engine.bundle, folder)
        table.append({
            "dtype": name,
            "bytes_per_token": engine.bundle.manifest.kv.bytes_per_token,
            "same_top": exact.of(np.concatenate([logits_of(unrounded, ids) for ids in ids_of_texts])),
            "same_top_far": far.of(logits_of(unrounded, long, LONG_TOKENS - HELD_OUT_TOKENS)),
            "same_top_shipped": shipped.of(np.concatenate([logits_of(engine._decoder, ids) for ids in ids_of_texts])),
            "decode_per_s": decode_rate(engine, long, 2000),
            "prefill_per_s": prefill_rate(engine, 2000),
        })  # fmt: skip
    return table


class Agreement:
    """How often logits have the same likeliest token as the first ones given."""

    def __init__(self) -> None:
        self._first: np.ndarray | None = None

    def of(self, logits: np.ndarray) -> float:
        likeliest = logits.argmax(1)
        self._first = likeliest if self._first is None else self._first
        return float((likeliest == self._first).mean())


def exact_decoder(bundle: Bundle, folder: Path) -> OrtDecoder:
    """The same network, cache and kernels over the same weights, with activations that are not rounded to 8 bits."""
    graph = onnx.load(str(bundle.file(CPU_GRAPH)), load_external_data=False)
    for node in graph.graph.node:
        for attribute in node.attribute:
            if attribute.name == "accuracy_level":
                attribute.i = 0
    for tensor in graph.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = f"{bundle.path.name}/{entry.value}"
    path = folder / f"{bundle.path.name}.exact.onnx"
    onnx.save(graph, str(path))
    decoder = OrtDecoder(bundle)
    decoder._session = load_graph(path, 0)
    return decoder


def logits_of(decoder: Decoder, ids: np.ndarray, start: int = 0) -> np.ndarray:
    """`(T - start, vocab)` float32, by passes of few tokens, which read an INT8 cache as it is."""
    cache = decoder.allocate(len(ids))
    for at in range(0, start, decoder.prefill_tokens):
        decoder.prefill(cache, ids[at : min(at + decoder.prefill_tokens, start)], at, logits=False)
    passes = (
        decoder.decode(cache, ids[at : at + FEW_TOKENS].tolist(), at) for at in range(start, len(ids), FEW_TOKENS)
    )
    return np.concatenate([rows.copy() for rows in passes])


def decode_rate(engine: Engine, ids: np.ndarray, context: int) -> float:
    prompt = Prompt(np.resize(ids, context))
    with engine.sequence(prompt, reserve=50) as sequence:
        decoding = engine.decode(sequence, max_tokens=50, sampling=GREEDY, draft=False)
        next(decoding)
        started = time.perf_counter()
        taken = sum(1 for _ in decoding)
    return taken / (time.perf_counter() - started)


def prefill_rate(engine: Engine, length: int) -> float:
    ids = np.random.default_rng(0).integers(300, 40000, length)
    started = time.perf_counter()
    with engine.sequence(Prompt(ids), reserve=0):
        return length / (time.perf_counter() - started)


def passes(folder: Path) -> list[dict[str, float]]:
    """How long a pass over several tokens takes: what guesses cost, and what a batch of sequences could gain."""
    engine = Engine.open(folder / "bundle")
    decoder = engine._decoder
    cache = decoder.allocate(512)
    decoder.prefill(cache, np.arange(500, 628), 0)
    table = []
    for tokens in (1, 2, 4, 8, 16, 32):
        times = []
        for _ in range(25):
            started = time.perf_counter()
            decoder.decode(cache, list(range(600, 600 + tokens)), 128)
            times.append((time.perf_counter() - started) * 1e3)
        table.append({"tokens": tokens, "ms": statistics.median(times)})
    return table


def default_endings() -> dict[str, Any]:
    """Why the default model's greedy answers, without tools, ended."""
    engine = Engine.open(DEFAULT_BUNDLE)

    def answer(text: str) -> tuple[FinishReason, int]:
        prompt = engine.tokenizer.encode_chat([Message("user", (text,))])
        with engine.sequence(prompt, reserve=BUDGET) as sequence:
            generation = engine.generate(sequence, max_tokens=BUDGET, sampling=GREEDY)
        return generation.finish_reason, len(generation.ids)

    return _endings(answer)


def smollm_endings(folder: Path) -> dict[str, Any]:
    return _endings(partial(_smollm_answer, Engine.open(folder / "bundle")))


def _endings(answer: Callable[[str], tuple[FinishReason, int]]) -> dict[str, Any]:
    """How often each reason, over all prompts, and the tokens of the longest answer."""
    reasons: Counter[str] = Counter()
    longest = 0
    for i in track(range(PROMPTS), "answering", console=console):
        reason, length = answer(KINDS[i % len(KINDS)].replace("{}", TOPICS[i // len(KINDS)]))
        reasons[reason] += 1
        longest = max(longest, length)
    return {"reasons": dict(reasons), "longest": longest, "budget": BUDGET, "prompts": PROMPTS}


def _smollm_answer(engine: Engine, text: str) -> tuple[FinishReason, int]:
    encode = engine.tokenizer.encode_text
    newline = encode("\n")
    turns = (("system", texts.DEFAULT_SYSTEM), ("user", text))
    ids = [part for role, said in turns for part in (IM_START, *encode(f"{role}\n{said}"), IM_END, *newline)]
    prompt = Prompt(np.asarray([*ids, IM_START, *encode("assistant\n")], np.int64))
    with engine.sequence(prompt, reserve=BUDGET) as sequence:
        generation = engine.generate(sequence, max_tokens=BUDGET, sampling=GREEDY)
    return generation.finish_reason, len(generation.ids)
