"""What is planned for: a bundle, a checkpoint in any format, or a member of the family by its name alone.

All become a manifest, as an export would write it; no weight is read.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from lineside.export.bundle.memory import needed_bytes
from lineside.export.bundle.plan import PRECISIONS, Planned, Precisions, plan
from lineside.export.checkpoint.opening import open_checkpoint
from lineside.export.checkpoint.source import Source
from lineside.export.errors import MissingPart
from lineside.export.network.config import NetworkConfig, VisionConfig
from lineside.export.network.family import FAMILY, member
from lineside.export.network.shapes import tensor_shapes
from lineside.export.planning.shapes_only import ShapesOnly
from lineside.runtime.bundle import read_manifest
from lineside.runtime.manifest import (
    FORMAT_VERSION,
    MANIFEST,
    PROMPT_TEMPLATE,
    ROUNDS,
    FileEntry,
    ImageSettings,
    KVLayout,
    Manifest,
    Taught,
)

PUBLISHED_BYTES = 2
"""A number of a published checkpoint, in bfloat16."""


@dataclass(frozen=True)
class Export:
    """What stands before the bundle.

    Attributes:
        checkpoint_bytes: on disk.
        weight_bytes: of the bundle's weight files, to the byte. `SPARE_BYTES` are enough for the rest of it.
        memory_bytes: of the export at its peak, its self-test included.
        weights: how many are stored in each form; those that come rounded under `carried-over`.
    """

    checkpoint_bytes: int
    weight_bytes: int
    memory_bytes: int
    weights: Mapping[str, int]


@dataclass(frozen=True)
class Described:
    """`export` is None for a bundle, which stands behind it."""

    title: str
    manifest: Manifest
    export: Export | None


def describe(model: Path, precisions: Precisions = PRECISIONS["int4"]) -> Described:
    """Look at `model`, a path or a name; `precisions` are those of the export that is to come.

    Raises:
        ExportError: a checkpoint that cannot be exported, with the reason, or nothing of that name.
        EngineError: a bundle that cannot be read.
    """
    if (model / MANIFEST).exists():
        manifest = read_manifest(model)
        return Described(f"{model}: bundle {manifest.name}", manifest, None)
    if model.exists():
        return of_source(*open_checkpoint(model), f"{model}: checkpoint", files_bytes(model), precisions)
    if (network := member(str(model))) is None:
        raise MissingPart(f"{model} is neither there nor known by name: known are {', '.join(FAMILY)}")
    return of_member(str(model), network, precisions)


def of_member(name: str, network: NetworkConfig, precisions: Precisions = PRECISIONS["int4"]) -> Described:
    """From its figures alone."""
    numbers = sum(math.prod(shape) for shape in tensor_shapes(network).values())
    title = f"{name}: by the figures of docs/family.md, no file was read"
    return of_source(ShapesOnly(network), network, title, PUBLISHED_BYTES * numbers, precisions)


def of_source(
    source: Source, network: NetworkConfig, title: str, checkpoint_bytes: int, precisions: Precisions
) -> Described:
    """Of an opened checkpoint. The cache is in float32, as a bundle has it where nothing else is asked for."""
    planned = plan(source, network, precisions)
    sizes = (checkpoint_bytes, planned.size_bytes, needed_bytes(planned))
    return Described(title, _manifest(planned), Export(*sizes, _weights(planned)))


def files_bytes(model: Path) -> int:
    """Of a checkpoint's weights on disk."""
    files = [model] if model.is_file() else model.glob("*.safetensors")
    return sum(file.stat().st_size for file in files)


def _weights(planned: Planned) -> dict[str, int]:
    counts: dict[str, int] = {}
    for file in planned.files.values():
        for weight in file.weights.values():
            form = "carried-over" if weight.carried is not None else weight.form
            counts[form] = counts.get(form, 0) + math.prod(weight.shape)
    return counts


def _manifest(planned: Planned) -> Manifest:
    """As the export would write it, as far as it is known before: no hashes, no tokenizer, nothing declared."""
    network = planned.network
    decoder, vision = network.decoder, network.vision
    return Manifest(
        format_version=FORMAT_VERSION,
        name="planned",
        architecture=network.architecture,
        source="",
        source_sha256="",
        quantization=planned.formats(),
        dialect="ort",
        tokenizer_version="",
        context_length=decoder.context_length,
        hidden_size=decoder.hidden_size,
        num_attention_heads=decoder.num_attention_heads,
        intermediate_size=decoder.intermediate_size,
        vocab_size=decoder.vocab_size,
        tied_embeddings=decoder.tied_embeddings,
        image_token_id=network.image_token_id,
        kv=KVLayout(decoder.num_hidden_layers, decoder.num_key_value_heads, decoder.head_dim, "float32"),
        image=_image(vision) if vision else None,
        files={file.file_name: FileEntry(file.size_bytes, "") for file in planned.files.values()},
        verbatim_arguments=False,
        any_way_up=False,
        rounds=ROUNDS,
        taught=Taught(),
        prompt_template=PROMPT_TEMPLATE,
        quantizer=planned.quantizer(),
        supersedes=(),
        target=planned.precisions.target,
    )


def _image(vision: VisionConfig) -> ImageSettings:
    grid = vision.grid_size
    merge, largest = vision.spatial_merge_size, vision.max_image_size
    return ImageSettings(vision.patch_size, merge, largest, grid, vision.hidden_size, vision.intermediate_size)


def with_cache(manifest: Manifest, kv_dtype: str) -> Manifest:
    """The same with a KV cache of another type."""
    return replace(manifest, kv=replace(manifest.kv, dtype=kv_dtype))
