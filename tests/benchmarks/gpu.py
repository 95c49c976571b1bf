"""`make bench-gpu`: a model of Mistral Small 3.2's shapes, made on the spot, on whatever session works best here.

Weights are random: speed and memory depend on shapes alone. One layer is checked against float64 first. With
`--reduced` the same measurements on small shapes, which a CPU does in seconds. Writes `build/bench-gpu/DEVICE.md`.
"""

from __future__ import annotations

import argparse
import dataclasses
import logging
import resource
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from lineside.devices.accelerators import cpu
from lineside.edge.config import Device
from lineside.edge.device_choice import SESSIONS, Choice, choose, look
from lineside.export.check import float64
from lineside.export.check.synthetic import MISTRAL_SMALL, write_synthetic
from lineside.export.command import reporting
from lineside.export.engine.engines import build_engines
from lineside.export.exported import Exported
from lineside.export.network.config import NetworkConfig
from lineside.runtime.bundle import Bundle, open_bundle
from lineside.runtime.cores import usable_cores
from lineside.runtime.sessions.interface import Decoder, OpenSessions, Vision
from lineside.runtime.sessions.selftest import relative_error
from lineside.runtime.sessions.tensorrt.session import TensorRTDecoder
from tests.benchmarks.measure import bandwidth_bytes_s
from tests.support.tokenizers import write_small_tokenizer

FOLDER = Path("build/bench-gpu")
CHECKED_TOKENS = 8
CHECK_TOLERANCE = 0.05
"""Relative error (L2) of one layer's logits: activations in float16, or of 8 bits on a CPU."""
DECODED, ROUNDS = 32, 5
COPIES, COPY_BYTES = 20, 1 << 30
ROOM = 512
"""Tokens of a cache beyond the longest context, so that decoding has room."""
SPARE = 1.2
"""Of a GPU's memory over weights and cache: activations, the tower, and what else uses it."""
console = Console(stderr=True)


@dataclass(frozen=True)
class Plan:
    """What is measured, on which shapes. `layers` 0 means all of them; with `gpu_only`, `auto` never takes the CPU."""

    network: NetworkConfig
    layers: int
    vocab_size: int
    prefills: tuple[int, ...]
    contexts: tuple[int, ...]
    pixels: tuple[int, ...]
    gpu_only: bool = False


FULL = Plan(MISTRAL_SMALL, 0, 131072, (512, 4096), (128, 4096, 32768), (448, 1024, 1540), gpu_only=True)


def reduced() -> Plan:
    """The same kinds of layers, small."""
    assert MISTRAL_SMALL.vision is not None
    decoder = dataclasses.replace(
        MISTRAL_SMALL.decoder, hidden_size=256, intermediate_size=512, num_attention_heads=4, num_key_value_heads=2,
        head_dim=64, context_length=2048,
    )  # fmt: skip
    vision = dataclasses.replace(
        MISTRAL_SMALL.vision, hidden_size=128, intermediate_size=256, num_hidden_layers=2, num_attention_heads=2,
        max_image_size=224, feature_layer=2,
    )  # fmt: skip
    network = dataclasses.replace(MISTRAL_SMALL, decoder=decoder, vision=vision)
    return Plan(network, 2, 640, (64, 256), (32, 128, 512), (112, 224))


@dataclass(frozen=True)
class Row:
    name: str
    value: float
    unit: str
    roofline: float = 0.0
    """Share of what the memory's bandwidth allows; 0 where that is not the bound."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", choices=("auto", "tensorrt", "cuda", "cpu"), default="auto")
    parser.add_argument("--reduced", action="store_true", help="small shapes")
    parser.add_argument("--folder", type=Path, default=FOLDER)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    print_path = bench(options.folder, options.device, reduced() if options.reduced else FULL)
    console.print(print_path.read_text())


def bench(folder: Path, device: Device, plan: Plan) -> Path:
    """Make the bundles that are not there yet, check one layer, measure, and write the report; returns its path.

    Layer and whole run on the same device. Raises DeviceUnusable where none works, ValueError as `check_layer` does.
    """
    layer, whole = (_bundle(folder, name, plan, layers) for name, layers in (("layer", 1), ("whole", plan.layers)))
    tokens = max(*plan.contexts, *plan.prefills) + ROOM
    if device in ("auto", "tensorrt"):
        for bundle in (layer, whole):
            _build_engines(bundle, plan)

    def start(sessions: OpenSessions) -> tuple[float, list[Row]]:
        error = check_layer(layer, sessions)
        return error, list(measure(whole, sessions, plan))

    among = [name for name in SESSIONS if name != "cpu"] if plan.gpu_only else SESSIONS
    choice, (error, rows) = choose(whole, device, start, tokens=tokens, among=among)
    path = folder / f"{choice.device}.md"
    path.write_text(_report(choice, plan, error, rows), encoding="utf-8")
    return path


def check_layer(bundle: Bundle, sessions: OpenSessions) -> float:
    """The largest relative error of a layer's logits against float64, in one pass, in a prefill and token by token.

    Raises ValueError where it is too large.
    """
    _, decoder = sessions(bundle)
    ids = np.random.default_rng(0).integers(100, bundle.manifest.vocab_size, size=CHECKED_TOKENS)
    wanted = float64.logits(Exported(bundle), ids).astype(np.float32)
    cache = decoder.allocate(min(decoder.cache_lengths, default=ROOM))
    half = CHECKED_TOKENS // 2
    found = [
        decoder.decode(cache, ids.tolist(), 0).copy(),
        decoder.prefill(cache, ids[:half], 0).copy(),
        *(decoder.decode(cache, [int(ids[i])], i).copy() for i in range(half, CHECKED_TOKENS)),
    ]
    parts = [wanted, wanted[half - 1 : half], *(wanted[i : i + 1] for i in range(half, CHECKED_TOKENS))]
    error = max(relative_error(*pair) for pair in zip(found, parts, strict=True))
    if not error < CHECK_TOLERANCE:
        raise ValueError(f"one layer is off by {error:.3g}, which is more than {CHECK_TOLERANCE}")
    return error


def measure(bundle: Bundle, sessions: OpenSessions, plan: Plan) -> Iterator[Row]:
    """Every figure of the report; times are the best of `ROUNDS`."""
    vision, decoder = sessions(bundle)
    memory = Memory(on_gpu=decoder.device != "cpu")
    bandwidth = memory.bandwidth_bytes_s()
    yield Row("memory bandwidth, measured", bandwidth / 1e9, "GB/s")
    rng = np.random.default_rng(1)
    tokens = rng.integers(100, bundle.manifest.vocab_size, size=max(plan.prefills))
    caches = OneCache(decoder)
    for count in plan.prefills:
        seconds = best(partial(_prefill, decoder, caches.holding(count), tokens[:count]))
        yield Row(f"prefill, {count} tokens", count / seconds, "tokens/s")
    weights = weight_bytes(bundle, half_scales=memory.on_gpu, float_head=isinstance(decoder, TensorRTDecoder))
    for context in plan.contexts:
        rate = DECODED / best(partial(_decode, decoder, caches.holding(context + DECODED), context))
        read = weights + context * decoder.bytes_per_token
        yield Row(f"decode at context {context}", rate, "tokens/s", roofline=rate * read / bandwidth)
    for side in plan.pixels if vision is not None else ():
        yield Row(f"vision, {side} pixels square", 1e3 * best(partial(_embed, vision, bundle, side)), "ms")
    yield Row("peak memory", memory.used_bytes() / 1e9, "GB")


class OneCache:
    """The cache of the moment: on a GPU two of the longest would not fit beside the weights."""

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder
        self._cache: Any = None

    def holding(self, tokens: int) -> Any:
        """A cache for `tokens` tokens. The one of before is gone by then, unless it will do."""
        capacity = min((n for n in self._decoder.cache_lengths if n >= tokens), default=tokens)
        if self._cache is None or self._cache.capacity != capacity:
            self._cache = None
            self._cache = self._decoder.allocate(capacity)
        return self._cache


def best(work: Callable[[], None]) -> float:
    """Seconds of the fastest of several runs, behind one that warms up."""
    work()
    times = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return min(times)


def weight_bytes(bundle: Bundle, *, half_scales: bool, float_head: bool = False) -> int:
    """What a decode step reads of the weights: every matrix once, and of an embedding table of its own only a row.

    Args:
        half_scales: scales are used as float16, as on a GPU, and not as float32.
        float_head: the head is float16, as in TensorRT's engines, which know no 8-bit blocks.
    """
    graph, manifest = Exported(bundle).decoder, bundle.manifest
    unread: tuple[str, ...] = ("rotary.", "embed.table") if manifest.tied_embeddings else ("rotary.", "embed.")
    total = 0
    if float_head:
        unread = (*unread, "embed.", "lm_head.")
        total = 2 * manifest.vocab_size * manifest.hidden_size
    for name in graph.names():
        if not name.startswith(unread):
            array = graph.array(name)
            total += array.size * (2 if half_scales else 4) if name.endswith(".scales") else array.nbytes
    return total


class Memory:
    """The memory that the session computes in: the GPU's where one is used, else the machine's."""

    def __init__(self, *, on_gpu: bool) -> None:
        self.on_gpu = on_gpu
        self._cuda: Any = None
        if on_gpu:
            from lineside.runtime.sessions.cuda_memory import CudaMemory

            self._cuda = CudaMemory()

    def bandwidth_bytes_s(self) -> float:
        """Bytes read and written in a second by copying within the GPU; on the host, read."""
        if self._cuda is None:
            return bandwidth_bytes_s(usable_cores())
        buffers = [self._cuda.allocate((COPY_BYTES,), np.int8) for _ in range(2)]
        kind = self._cuda.runtime.cudaMemcpyKind.cudaMemcpyDeviceToDevice

        def copy() -> None:
            source, target = buffers
            for _ in range(COPIES):
                self._cuda.call("cudaMemcpyAsync", target.pointer, source.pointer, COPY_BYTES, kind, self._cuda.stream)
            self._cuda.synchronize()

        seconds = best(copy)
        buffers.clear()
        self._cuda.free_unused()  # they would count as the model's
        return 2 * COPIES * COPY_BYTES / seconds

    def used_bytes(self) -> int:
        """Of this process at its highest; of a GPU all that is in use, whose allocators keep what they once took."""
        if self._cuda is None:
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        free, total = self._cuda.free_bytes()
        return int(total - free)


def _bundle(folder: Path, name: str, plan: Plan, layers: int) -> Bundle:
    path = folder / name
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        tokenizer = folder / "tekken.json"
        assert plan.network.vision is not None
        write_small_tokenizer(tokenizer, vocab_size=plan.vocab_size, max_image_size=plan.network.vision.max_image_size)
        with reporting() as report:
            write_synthetic(path, plan.network, tokenizer, layers=layers, progress=report)
    return open_bundle(path)


def _build_engines(bundle: Bundle, plan: Plan) -> None:
    """For the GPU that is there, unless they are there already."""
    gpus = look().gpus
    if not gpus:
        return
    gpu, lengths = gpus[0], engine_lengths(bundle, plan, gpus[0].memory_bytes)
    machine = {"present": gpu.target, "gpu": gpu.name}
    try:
        with reporting(unit="steps") as report:
            build_engines(bundle.path, gpu.target, cache_lengths=lengths, progress=report, **machine)
    except Exception as error:  # noqa: BLE001  # the other sessions can be measured without
        console.log(f"no engines: {error}")


def engine_lengths(bundle: Bundle, plan: Plan, memory_bytes: int) -> tuple[int, ...]:
    """Lengths of the cache: a short one too where the GPU holds the weights twice, for each engine has its own."""
    short, long = max(plan.prefills) + ROOM, max(plan.contexts) + ROOM
    table = 2 * bundle.manifest.vocab_size * bundle.manifest.hidden_size  # float16 too, beside the head
    weights = weight_bytes(bundle, half_scales=True, float_head=True) + table
    needed = 2 * weights + long * bundle.manifest.kv.bytes_of("float16")
    return (short, long) if short < long and SPARE * needed <= memory_bytes else (long,)


def _prefill(decoder: Decoder, cache: Any, ids: Any) -> None:
    for start in range(0, len(ids), decoder.prefill_tokens):
        chunk = ids[start : start + decoder.prefill_tokens]
        decoder.prefill(cache, chunk, start, logits=start + len(chunk) == len(ids))


def _decode(decoder: Decoder, cache: Any, context: int) -> None:
    """Greedy, as an answer is made: each token needs the logits of the last."""
    token = 100
    picker = decoder.picker
    for past in range(context, context + DECODED):
        if picker is not None:
            token = picker.likeliest(cache, [token], past)[0]
        else:
            token = int(decoder.decode(cache, [token], past)[0].argmax())


def _embed(vision: Vision | None, bundle: Bundle, side: int) -> None:
    image = bundle.manifest.image
    assert image is not None
    assert vision is not None
    step = image.patch_size * image.spatial_merge_size
    pixels = np.zeros((3, side // step * step, side // step * step), np.float32)
    vision.embed(pixels)


def _report(choice: Choice, plan: Plan, error: float, rows: list[Row]) -> str:
    gpus, decoder = look().gpus, plan.network.decoder
    name = gpus[0].name if gpus and choice.device != "cpu" else cpu().name
    layers = plan.layers or decoder.num_hidden_layers
    lines = [
        f"## {name}, {choice.device}",
        "",
        f"{layers} layers of {decoder.hidden_size}, vocabulary {plan.vocab_size}; random weights, INT4 in blocks "
        f"of 32. One layer against float64: relative error {error:.1e}. Batch 1; times are the best of {ROUNDS} runs; "
        "decoding takes the likeliest token each time. Roofline: the share of the measured bandwidth that reading "
        "weights and cache once a token takes.",
        "",
        f"Chosen because: {choice.reason}.",
        "",
        "| | | roofline |",
        "|---|---|---|",
    ]
    for row in rows:
        share = f"{row.roofline:.0%}" if row.roofline else ""
        lines.append(f"| {row.name} | {row.value:.4g} {row.unit} | {share} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
