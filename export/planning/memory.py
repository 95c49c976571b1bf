"""The memory of a model by part, on this machine's CPU or on a board."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from lineside.export.network.family import FAMILY
from lineside.export.planning.described import of_member, with_cache
from lineside.export.planning.work import SIDES, in_engine, picture, sizes
from lineside.runtime.boards import Board
from lineside.runtime.engine.memory_plan import (
    PROCESS_BYTES,
    TOWER_FACTOR,
    activation_bytes,
    gpu_bytes,
    machine_bytes,
    plan_memory,
    vocabulary_bytes,
)
from lineside.runtime.engine.sequence import Chunking
from lineside.runtime.manifest import Manifest
from lineside.runtime.sessions.interface import MAX_DECODE_TOKENS

GB = 1e9


@dataclass(frozen=True)
class Wanted:
    """What a model is to do on a device.

    Attributes:
        tokens: of the KV cache.
        side: pixels of the largest picture.
        board: None for this machine's CPU.
        memory_bytes: of the device where it is not what the board has; 0 otherwise.
    """

    tokens: int
    side: int
    board: Board | None
    memory_bytes: int = 0

    @property
    def device_bytes(self) -> int:
        return self.memory_bytes or (self.board.memory_bytes if self.board else machine_bytes())

    @property
    def free_bytes(self) -> int:
        """What is there for a model."""
        return self.device_bytes - (self.board.system_bytes if self.board else 0)


def parts(manifest: Manifest, wanted: Wanted) -> dict[str, int]:
    """Bytes by part, at the peak."""
    tokens = min(wanted.tokens, manifest.context_length)
    if wanted.board is None:
        image = manifest.image
        shown = replace(image, max_image_size=min(wanted.side, image.max_image_size)) if image else None
        return _named(plan_memory(replace(manifest, image=shown), tokens).parts, wanted.side)
    held = sizes(manifest, gpu_bytes)
    found = {
        "weights, scales in float16": held.resident,
        _cache(manifest, tokens): tokens * manifest.kv.bytes_per_token,
        "prefill": _prefill(manifest),
    }
    if (image := manifest.image) is not None:
        patches = picture(image, wanted.side).patches
        tower = TOWER_FACTOR * patches * activation_bytes(image.hidden_size, image.intermediate_size) // 2
        found[f"vision, a picture of {wanted.side} px"] = tower + 3 * min(wanted.side, image.max_image_size) ** 2 * 2
    if wanted.board.unified:
        found = {"process": PROCESS_BYTES + vocabulary_bytes(manifest)} | found
    return found


def _named(found: dict[str, int], side: int) -> dict[str, int]:
    return {name.replace("the largest picture", f"a picture of {side} px"): size for name, size in found.items()}


def _cache(manifest: Manifest, tokens: int) -> str:
    return f"KV cache, {tokens} tokens of {manifest.kv.bytes_per_token} bytes"


def _prefill(manifest: Manifest) -> int:
    """In float16; logits in float32."""
    chunk = Chunking().tokens * activation_bytes(manifest.hidden_size, manifest.intermediate_size) // 2
    return chunk + MAX_DECODE_TOKENS * manifest.vocab_size * 4


def engines_take_more(manifest: Manifest) -> int:
    """Bytes that TensorRT engines hold beyond what CUDA's session does: table, head and tower in float16."""
    return sizes(manifest, in_engine).resident - sizes(manifest, gpu_bytes).resident


def changes(manifest: Manifest, wanted: Wanted) -> Iterator[str]:
    """What would make it fit, each with its arithmetic, the smallest change first, the largest model first."""
    missing = sum(parts(manifest, wanted).values()) - wanted.free_bytes
    yield from _less_cache(manifest, wanted, missing)
    yield from _smaller_pictures(manifest, wanted, missing)
    cache = manifest.kv.dtype
    others = {name: with_cache(of_member(name, network).manifest, cache) for name, network in FAMILY.items()}
    needed = {name: sum(parts(other, wanted).values()) for name, other in others.items()}
    for name, size in sorted(needed.items(), key=lambda entry: -entry[1]):
        if size <= wanted.free_bytes:
            yield f"a smaller model: {name} takes {size / GB:.2f} GB, {(wanted.free_bytes - size) / GB:.2f} are left"


def _less_cache(manifest: Manifest, wanted: Wanted, missing: int) -> Iterator[str]:
    kv, tokens = manifest.kv, min(wanted.tokens, manifest.context_length)
    if kv.dtype != "int8":
        saved = tokens * (kv.bytes_per_token - kv.bytes_of("int8"))
        yield (
            f"`--kv-cache int8`: {tokens} tokens x ({kv.bytes_per_token} - {kv.bytes_of('int8')} bytes) = "
            f"{saved / GB:.2f} GB less{_enough(saved, missing)}; TensorRT engines keep float16"
        )
    left = tokens * kv.bytes_per_token - missing
    if left >= kv.bytes_per_token:
        yield (
            f"`--tokens {left // kv.bytes_per_token}`, a station's `model.capacity`: {left / GB:.2f} GB / "
            f"{kv.bytes_per_token} bytes"
        )
    else:
        yield f"fewer tokens do not help: without a single one {-left / GB:.2f} GB are missing still"


def _smaller_pictures(manifest: Manifest, wanted: Wanted, missing: int) -> Iterator[str]:
    if manifest.image is None:
        return
    total = sum(parts(manifest, wanted).values())
    for side in sorted((side for side in SIDES if side < wanted.side), reverse=True):
        saved = total - sum(parts(manifest, replace(wanted, side=side)).values())
        if saved >= missing or side == SIDES[0]:
            yield f"`max_side = {side}` of the camera: {saved / GB:.2f} GB less for vision{_enough(saved, missing)}"
            return


def _enough(saved: int, missing: int) -> str:
    return ", which fits" if saved >= missing else f", {(missing - saved) / GB:.2f} are missing still"
