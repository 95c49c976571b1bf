"""Merge a LoRA adapter into a checkpoint while it is read: `W + scale * B @ A`, a few rows at a time.

Source: peft's `LoraConfig` and its way of storing an adapter.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lineside.export.checkpoint.matrices import Float32, Matrix, Plain, Rows, Unrounded
from lineside.export.checkpoint.names import hugging_face_name
from lineside.export.checkpoint.section import Section
from lineside.export.checkpoint.shards import FLOATS, Stored, nothing_found, open_shards, read_json
from lineside.export.checkpoint.tensors import Checkpoint
from lineside.export.errors import MissingPart, Unsupported

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
NAME = re.compile(r"base_model\.model\.(.+)\.lora_([AB])(?:\.default)?\.weight")
IGNORED = frozenset(
    [
        "task_type",
        "base_model_name_or_path",
        "revision",
        "inference_mode",
        "target_modules",
        "exclude_modules",
        "layers_to_transform",
        "layers_pattern",
        "lora_dropout",
        "auto_mapping",
        "peft_version",
        "megatron_core",
        "rank_pattern",
        "r",
        "qalora_group_size",
        "loftq_config",
        "eva_config",
        "corda_config",
        "lora_ga_config",
        "ensure_weight_tying",
    ]
)
"""How it was trained; which matrices it has and of what rank, its tensors say themselves."""
OFF = ("use_dora", "fan_in_fan_out", "lora_bias", "use_qalora")
EMPTY = ("modules_to_save", "alpha_pattern", "layer_replication", "trainable_token_indices", "target_parameters",
         "alora_invocation_tokens", "megatron_config", "arrow_config", "kasa_config", "monteclora_config",
         "velora_config", "use_bdlora")  # fmt: skip


@dataclass(frozen=True)
class Adapted(Unrounded):
    """A matrix `(N, K)` of floats with its adapter: `a` `(r, K)`, `b` `(N, r)`."""

    inner: Matrix
    a: Stored
    b: Stored
    scale: float

    @property
    def shape(self) -> tuple[int, ...]:
        return self.inner.shape

    def rows(self, at: Rows) -> Float32:
        a, b = Plain(self.a).rows(slice(None)), Plain(self.b).rows(at)
        return np.asarray(self.inner.rows(at) + np.float32(self.scale) * (b @ a), np.float32)

    def __str__(self) -> str:
        return f"{self.inner} with {self.a.shard}"


def merge(checkpoint: Checkpoint, folder: Path) -> Checkpoint:
    """The same checkpoint with the adapter in `folder`, as peft saves it, merged into it.

    Raises:
        MissingPart: a file or half of a pair is missing.
        Unsupported: another kind of adapter, or one for another network.
    """
    path, weights = folder / CONFIG, folder / WEIGHTS
    if not path.exists():
        raise MissingPart(f"{path} is missing: an adapter's folder holds {CONFIG} and {WEIGHTS}")
    if not weights.exists():
        raise nothing_found(folder, f"no {WEIGHTS}")
    alpha, by_root = _config(Section(read_json(path), path))
    tensors = dict(checkpoint.tensors)
    for name, halves in _pairs(open_shards([weights])).items():
        if len(halves) != 2:
            raise MissingPart(f"{weights}: {name} has only one of lora_A and lora_B")
        rank = halves["A"].shape[0]
        scale = alpha / (math.sqrt(rank) if by_root else rank)
        tensors[name] = _adapted(tensors.get(name), name, halves, scale)
    return Checkpoint(checkpoint.folder, [*checkpoint.files, path, weights], tensors)


def _config(config: Section) -> tuple[float, bool]:
    """What the products are multiplied with before they are divided by the rank, or by its root."""
    config.choice("peft_type", ("LORA",))
    config.choice("bias", ("none",), "none")
    for key in OFF:
        config.require(key, supported=False)
    for key in EMPTY:
        if config.get(key, None):
            raise Unsupported(
                f"{config.name(key)} is not supported: merge the adapter with peft, and export the result"
            )
    if config.get("init_lora_weights", default=True) not in (True, False, "gaussian", "eva"):
        raise Unsupported(f"{config.name('init_lora_weights')} changed the base model: merge the adapter with peft")
    alpha, by_root = config.number("lora_alpha"), config.flag("use_rslora", default=False)
    config.close(IGNORED)
    return alpha, by_root


def _pairs(stored: dict[str, Stored]) -> dict[str, dict[str, Stored]]:
    """By Lineside's name of the matrix."""
    found: dict[str, dict[str, Stored]] = {}
    for name, tensor in stored.items():
        match = NAME.fullmatch(name)
        if match is None or tensor.dtype not in FLOATS or len(tensor.shape) != 2:
            raise Unsupported(
                f"{tensor} is no lora_A or lora_B of a matrix: merge the adapter with peft, export the result"
            )
        found.setdefault(f"{hugging_face_name(match[1])}.weight", {})[match[2]] = tensor
    return found


def _adapted(matrix: Matrix | None, name: str, halves: dict[str, Stored], scale: float) -> Adapted:
    a, b = halves["A"], halves["B"]
    if matrix is None:
        raise Unsupported(f"{a.shard} has an adapter of {name}, which the checkpoint has not: it is another model's")
    if len(matrix.shape) != 2 or (b.shape[0], a.shape[1]) != matrix.shape or a.shape[0] != b.shape[1]:
        raise Unsupported(f"{a} {a.shape} and {b.name} {b.shape} do not fit {name} {matrix.shape}: another model's")
    if matrix.block is not None:
        raise Unsupported(f"{matrix} is rounded already: merge the adapter into the original weights")
    return Adapted(matrix, a, b, scale)
