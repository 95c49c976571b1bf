"""Read safetensors shards a few rows at a time, so that no more than a slice of a tensor is ever in memory."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open

from lineside.export.checkpoint.source import BlockFormat, Blocks
from lineside.export.errors import MissingPart, Unsupported

FLOAT_TYPES = {"F32", "F16", "BF16"}
INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
ROW_CHUNK_ELEMENTS = 8 * 1024 * 1024
PREFIXES = (
    ("decoder.", ("language_model.model.", "model.language_model.")),
    ("lm_head.", ("language_model.lm_head.", "lm_head.")),
    ("vision.", ("vision_tower.", "model.vision_tower.")),
    ("projector.", ("multi_modal_projector.", "model.multi_modal_projector.")),
)
"""Lineside's names and the prefixes under which checkpoints store them: published, and transformers 5 internal."""


@dataclass(frozen=True)
class TensorInfo:
    shard: Path
    stored_name: str
    shape: tuple[int, ...]


class Checkpoint:
    """The tensors of a checkpoint folder by Lineside's names (`decoder.layers.0.self_attn.q_proj.weight`).

    Raises:
        MissingPart: no safetensors at all, or a shard that the index names is not there.
        Unsupported: a tensor that is not float32, float16 or bfloat16.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.shards = _shards(folder)
        self.tensors: dict[str, TensorInfo] = {}
        for shard in self.shards:
            self._scan(shard)

    def _scan(self, shard: Path) -> None:
        try:
            with safe_open(shard, framework="np") as file:
                for stored in file.keys():  # noqa: SIM118 - a safe_open handle is not iterable
                    part = file.get_slice(stored)
                    if part.get_dtype() not in FLOAT_TYPES:
                        raise Unsupported(f"{shard}: {stored} is {part.get_dtype()}; supported: {sorted(FLOAT_TYPES)}")
                    self.tensors[canonical_name(stored)] = TensorInfo(shard, stored, tuple(part.get_shape()))
        except SafetensorError as error:
            raise MissingPart(f"{shard} is damaged or incomplete ({error}): fetch it again") from error

    def __contains__(self, name: str) -> bool:
        return name in self.tensors

    def shape(self, name: str) -> tuple[int, ...]:
        """Raises MissingPart where the tensor is not in any shard."""
        return self._info(name).shape

    def _info(self, name: str) -> TensorInfo:
        try:
            return self.tensors[name]
        except KeyError:
            raise MissingPart(f"{self.folder}: tensor {name} is in none of the {len(self.shards)} shards") from None

    def read(self, name: str) -> npt.NDArray[np.float32]:
        """A whole tensor as float32."""
        return np.concatenate(list(self.rows(name)))

    def rows(self, name: str) -> Iterator[npt.NDArray[np.float32]]:
        """Consecutive row slices of a tensor as float32, each of about `ROW_CHUNK_ELEMENTS`."""
        info = self._info(name)
        row_elements = int(np.prod(info.shape[1:], dtype=np.int64)) if len(info.shape) > 1 else 1
        step = max(1, ROW_CHUNK_ELEMENTS // row_elements)
        with safe_open(info.shard, framework="np") as file:
            part = file.get_slice(info.stored_name)
            for start in range(0, info.shape[0], step):
                yield np.asarray(part[start : min(start + step, info.shape[0])]).astype(np.float32)

    def block_format(self, name: str) -> BlockFormat | None:  # noqa: ARG002 - these checkpoints hold floats only
        return None

    def blocks(self, name: str) -> Iterator[Blocks]:
        raise ValueError(f"{name} holds floats, not blocks")

    def stamp(self) -> str:
        """A cheap identity of the files (names, sizes, times), to tell whether a broken-off export may go on."""
        parts = [(shard.name, shard.stat().st_size, shard.stat().st_mtime_ns) for shard in self.shards]
        return json.dumps(parts)


def canonical_name(stored: str) -> str:
    """The checkpoint's tensor name in Lineside's words; unknown names stay as they are."""
    for name, prefixes in PREFIXES:
        for prefix in prefixes:
            if stored.startswith(prefix):
                return name + stored.removeprefix(prefix)
    return stored


def _shards(folder: Path) -> list[Path]:
    index = folder / INDEX
    if index.exists():
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
        missing = [name for name in names if not (folder / name).exists()]
        if missing:
            raise MissingPart(f"{folder}: shard {', '.join(missing)} is missing ({INDEX} names it): fetch it again")
        return [folder / name for name in names]
    if (folder / SINGLE).exists():
        return [folder / SINGLE]
    raise MissingPart(f"{folder} holds neither {SINGLE} nor {INDEX}: is it a Hugging Face checkpoint folder?")
