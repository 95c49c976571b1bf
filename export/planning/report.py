"""The lines of `lineside plan` for a device, each figure with the arithmetic behind it."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from lineside.export.bundle.checks import SPARE_BYTES
from lineside.export.planning.described import Described, Export
from lineside.export.planning.memory import GB, Wanted, changes, engines_take_more, parts
from lineside.export.planning.rates import Rates
from lineside.export.planning.work import (
    SIDES,
    in_engine,
    in_session,
    layer_weights,
    picture,
    prefill_operations,
    sizes,
    vision_operations,
)
from lineside.runtime.boards import JETSON, SYSTEM_BYTES, UNIFIED_SHARE
from lineside.runtime.engine.memory_plan import gpu_bytes
from lineside.runtime.free_memory import free_bytes
from lineside.runtime.manifest import Manifest

ANSWER_TOKENS = 32


def model_lines(described: Described) -> Iterator[str]:
    manifest = described.manifest
    kv = manifest.kv
    yield described.title
    yield (
        f"  {kv.num_hidden_layers} layers of {manifest.hidden_size}, FFN {manifest.intermediate_size}, "
        f"{manifest.num_attention_heads} heads and {kv.num_key_value_heads} KV heads of {kv.head_dim}, vocabulary "
        f"{manifest.vocab_size}, {layer_weights(manifest) / 1e9:.2f} B weights in the layers"
    )
    seen = f"pictures up to {manifest.image.max_image_size} px" if manifest.image else "no pictures"
    yield f"  context {manifest.context_length}, {seen}"


def export_lines(export: Export, speeds: Mapping[str, float]) -> Iterator[str]:
    """`speeds` are weights a second by form, on the machine that exports."""
    yield "the export, on this machine"
    yield _line("disk, the checkpoint", export.checkpoint_bytes)
    free = shutil.disk_usage(Path.cwd()).free
    rest = f"and up to {_size(SPARE_BYTES)} for graphs, tokenizer and self-test"
    yield _line("disk, the bundle's weights", export.weight_bytes, f"{rest}; {_size(free)} are free in this folder")
    there = free_bytes()
    free_memory = "" if there is None else f"{_size(there)} are free"
    yield _line("RAM at its peak, self-test included", export.memory_bytes, free_memory)
    seconds = {form: count / speeds[form] for form, count in export.weights.items()}
    sums = " + ".join(
        f"{count / 1e9:.2f} B {form} / {speeds[form] / 1e6:.2g} M a second"
        for form, count in export.weights.items()
        if seconds[form] >= 0.01 * sum(seconds.values())
    )
    yield (
        f"  {'time':<42}{_duration(sum(seconds.values())):>13}   {sums}, measured here; the disk and the self-test "
        "come on top"
    )


def memory_lines(manifest: Manifest, wanted: Wanted) -> Iterator[str]:
    board = wanted.board
    where = board.title if board else "this machine's CPU"
    yield f"memory on {where}"
    found = parts(manifest, wanted)
    for name, size in found.items():
        yield _line(name, size)
    yield _line("total", sum(found.values()))
    kept = ""
    if board is not None and board.unified:
        kept = f"a {UNIFIED_SHARE}th for firmware and kernel, {SYSTEM_BYTES / GB:.0f} GB for the system: an allowance"
    elif board is not None:
        kept = "the driver"
    yield _line("device", wanted.device_bytes)
    if board is not None:
        yield _line("kept from it", board.system_bytes, kept)
        more = engines_take_more(manifest)
        yield f"  as TensorRT engines {_size(more)} more: embedding table, head and tower are float16 there"


def fits(manifest: Manifest, wanted: Wanted) -> bool:
    return sum(parts(manifest, wanted).values()) <= wanted.free_bytes


def verdict_lines(manifest: Manifest, wanted: Wanted) -> Iterator[str]:
    left = wanted.free_bytes - sum(parts(manifest, wanted).values())
    if left >= 0:
        yield f"fits: {_size(left)} are left{_as_engines(manifest, wanted, left)}"
        return
    yield f"does not fit: {_size(-left)} are missing"
    yield from (f"  {change}" for change in changes(manifest, wanted))


def _as_engines(manifest: Manifest, wanted: Wanted, left: int) -> str:
    """Of a GPU whose memory has `left` by CUDA."""
    if wanted.board is None:
        return ""
    left -= engines_take_more(manifest)
    return f", {_size(left)} as TensorRT engines" if left >= 0 else f"; as TensorRT engines {_size(-left)} are missing"


def speed_lines(manifest: Manifest, wanted: Wanted, rates: Rates) -> Iterator[str]:
    yield f"speed, {'an estimate' if rates.estimated else 'from a measurement'}: {rates.how}"
    read = sizes(manifest, in_session if wanted.board is None else gpu_bytes).read
    per_token = manifest.kv.bytes_per_token
    for context in (0, min(wanted.tokens, manifest.context_length)):
        moved = read + context * per_token
        yield (
            f"  decode behind {context} tokens: at most {rates.bandwidth / moved:.1f} tokens/s = "
            f"{rates.bandwidth / GB:.1f} GB/s / ({_size(read)} of weights + {_size(context * per_token)} of cache)"
        )
    if wanted.board is not None:
        engines = sizes(manifest, in_engine).read
        yield f"  as TensorRT engines: at most {rates.bandwidth / engines:.1f} tokens/s, {_size(engines)} a token"
    yield from _picture_lines(manifest, rates, read)


def _picture_lines(manifest: Manifest, rates: Rates, read: int) -> Iterator[str]:
    if manifest.image is None:
        return
    yield f"  seconds for a square picture and an answer of {ANSWER_TOKENS} tokens, at the least:"
    yield f"  {'max_side':>10}{'patches':>9}{'tokens':>8}{'vision':>9}{'prefill':>9}{'answer':>9}{'together':>10}"
    for side in SIDES:
        shown = picture(manifest.image, side)
        vision = vision_operations(manifest, shown) / rates.floats
        answer = ANSWER_TOKENS * (read + shown.tokens * manifest.kv.bytes_per_token) / rates.bandwidth
        prefill = prefill_s(manifest, shown.tokens, rates, read)
        total = vision + prefill + answer
        yield (
            f"  {side:>10}{shown.patches:>9}{shown.tokens:>8}{vision:>9.2f}{prefill:>9.2f}{answer:>9.2f}{total:>10.2f}"
            + (f"   shrunk to {manifest.image.max_image_size} px" if side > manifest.image.max_image_size else "")
        )
    yield f"  vision: operations / rate; prefill: operations / rate, or the weights read once for {rates.chunk} tokens;"
    yield "  the prompt's text is left out: it is remembered from one picture to the next"


def prefill_s(manifest: Manifest, tokens: int, rates: Rates, read: int) -> float:
    """Bound by operations, or by reading all weights once a chunk."""
    return max(
        prefill_operations(manifest, tokens) / rates.matrices, math.ceil(tokens / rates.chunk) * read / rates.bandwidth
    )


def jetson_lines(wanted: Wanted) -> Iterator[str]:
    if wanted.board is not None and wanted.board.target in JETSON:
        yield "engines for it are built on the board, by JetPack's TensorRT 10.15 or later: docs/jetson.md"


def _line(name: str, size: int, note: str = "") -> str:
    return f"  {name:<42}{_size(size):>13}" + (f"   {note}" if note else "")


def _size(size: int) -> str:
    return f"{size / GB:.2f} GB" if size >= GB else f"{size / 1e6:.1f} MB"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02} min"
