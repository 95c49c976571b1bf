"""Checkpoint folder in, bundle folder out: plan, check, stream the weights, self-test, publish.

Work happens in `BUNDLE.partial`, with a journal of the weights that are complete; a broken-off export goes on from
there. The folder is renamed to `BUNDLE` when everything in it has been written and tested.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from mistral_common.tokens.tokenizers.image import ImageConfig

from lineside.export.bundle.golden import write_golden
from lineside.export.bundle.journal import Journal
from lineside.export.bundle.kv_calibration import kv_scales
from lineside.export.checkpoint.config import read_config
from lineside.export.checkpoint.gguf import GgufCheckpoint
from lineside.export.checkpoint.source import Source
from lineside.export.checkpoint.tensors import Checkpoint
from lineside.export.errors import DiskTooSmall, MissingPart, TargetExists, Unsupported
from lineside.export.graph.kv import FLOAT_KV, KVDtype, KVFormat
from lineside.export.graph.ort import OPSET, OrtOps
from lineside.export.graph.weights import Precision, WeightPlan, fill
from lineside.export.graph.writer import GraphWriter
from lineside.export.network.config import NetworkConfig, VisionConfig
from lineside.export.network.decoder import emit_decoder
from lineside.export.network.vision import emit_vision
from lineside.runtime.bundle import FORMAT_VERSION, MANIFEST, FileEntry, ImageSettings, KVLayout, Manifest, file_sha256
from lineside.runtime.text.tokenizer import Tokenizer

log = logging.getLogger("lineside.export")
SPARE_BYTES = 64 * 1024 * 1024
"""Graphs, tokenizer and self-test besides the weights, generously."""
EXACT_GRAPH = "decoder.exact.onnx"
"""The decoder with exact activations, on which the self-test of GPUs is made; it does not stay."""

Progress = Callable[[str, int, int], None]
"""Called with the weight's name, bytes done and bytes in all."""


@dataclass(frozen=True)
class Precisions:
    """Number formats: the decoder's and the tower's matrices, and the embedding table with the head.

    Embeddings and head keep 8 bits: rounding them to 4 costs more than it saves (a tied table is read twice). The tower
    keeps 8 bits because it is small beside the decoder and every later token depends on it.

    `accuracy_level` 4 rounds the decoder's activations to 8 bits per block of 32, which is what makes decoding fast on
    a CPU. The tower works on hundreds of patches at once, where exact activations cost nothing: it keeps level 0.
    """

    decoder: Precision = "int4"
    vision: Precision = "int8"
    embedding: Precision = "int8"
    accuracy_level: int = 4


PRECISIONS = {"int4": Precisions(), "float32": Precisions("float32", "float32", "float32")}


@dataclass(frozen=True)
class Planned:
    network: NetworkConfig
    graphs: tuple[GraphWriter, ...]

    @property
    def size_bytes(self) -> int:
        return sum(graph.plan.size_bytes for graph in self.graphs)

    def formats(self) -> dict[str, str]:
        """How the matrices of each part are stored; several formats are joined by `+`."""
        found: dict[str, set[str]] = {}
        for graph in self.graphs:
            for weight in graph.plan.weights:
                if weight.form != "plain":
                    part = "embedding" if weight.name in ("embed", "lm_head") else graph.name
                    found.setdefault(part, set()).add("float32" if weight.form == "transposed" else weight.form)
        return {part: "+".join(sorted(forms)) for part, forms in found.items()}


def export_bundle(
    path: Path,
    target: Path,
    *,
    precisions: Precisions = PRECISIONS["int4"],
    kv_dtype: KVDtype = "float32",
    verbatim_arguments: bool = False,
    any_way_up: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Export the checkpoint `path`, a folder or a GGUF file with a tekken.json beside it, to the bundle `target`.

    With `verbatim_arguments` the runtime lets the model choose words of the conversation where the argument of a call
    is a free text, and write nothing else (`runtime/grammar/verbatim.py`). With `any_way_up` it has the model look at
    pictures upside down, too (`runtime/inspection/augmentation.py`).

    Raises:
        ExportError: see `export.errors`; everything that can be found before the work starts is.
    """
    if target.exists():
        raise TargetExists(f"{target} exists already: remove it or choose another name")
    checkpoint, network = open_checkpoint(path)
    tokenizer_path = _tokenizer_path(path)
    if isinstance(checkpoint, GgufCheckpoint):
        _check_pieces(checkpoint, Tokenizer(tokenizer_path), tokenizer_path)
    return write_bundle(
        checkpoint,
        network,
        tokenizer_path,
        path.name,
        target,
        precisions,
        kv_dtype,
        progress,
        verbatim_arguments=verbatim_arguments,
        any_way_up=any_way_up,
    )


def write_bundle(
    checkpoint: Source,
    network: NetworkConfig,
    tokenizer_path: Path,
    name: str,
    target: Path,
    precisions: Precisions,
    kv_dtype: KVDtype,
    progress: Progress | None,
    *,
    verbatim_arguments: bool = False,
    any_way_up: bool = False,
) -> Path:
    """Export an opened checkpoint; `name` is that of its folder or file."""
    tokenizer = Tokenizer(tokenizer_path)
    planned = plan(checkpoint, network, precisions)
    _check_tokenizer(planned.network, tokenizer, tokenizer_path)
    partial = target.with_name(target.name + ".partial")
    stamp = json.dumps([checkpoint.stamp(), str(precisions), FORMAT_VERSION])
    journal = Journal(partial / "journal.jsonl", stamp)
    _check_disk(target, planned.size_bytes - journal.done_bytes)
    source_sha256 = _stream(planned, checkpoint, partial, journal, progress)
    manifest = _manifest(target.name, name, source_sha256, planned, tokenizer)
    manifest = replace(manifest, verbatim_arguments=verbatim_arguments, any_way_up=any_way_up)
    for graph in planned.graphs:
        graph.save(partial / f"{graph.name}.onnx")
    kv = KVFormat("float16")
    if kv_dtype != "float32":
        scales = kv_scales(partial, manifest, tokenizer) if kv_dtype == "int8" else {}
        kv = KVFormat(kv_dtype, scales)
        planned = plan(checkpoint, network, precisions, kv)
        planned.graphs[-1].save(partial / "decoder.onnx")
        manifest = replace(manifest, kv=replace(manifest.kv, dtype=kv_dtype))
    for graph in plan(checkpoint, network, precisions, kv, "float16").graphs:
        graph.save(partial / f"{graph.name}.float16.onnx")
    shutil.copyfile(tokenizer_path, partial / "tekken.json")
    (partial / "model_card.md").write_text(_card(name, planned), encoding="utf-8")
    if precisions.accuracy_level:
        own = FLOAT_KV if kv_dtype == "float32" else kv
        exact = plan(checkpoint, network, replace(precisions, accuracy_level=0), own)
        exact.graphs[-1].save(partial / EXACT_GRAPH)
        write_golden(partial, manifest, EXACT_GRAPH)
        (partial / EXACT_GRAPH).unlink()
    else:
        write_golden(partial, manifest)
    journal.remove()
    _publish(partial, target, manifest)
    return target


def open_checkpoint(path: Path) -> tuple[Source, NetworkConfig]:
    """The checkpoint's tensors and its network; reads no weight."""
    if path.is_file():
        file = GgufCheckpoint(path)
        return file, file.config()
    folder = Checkpoint(path)
    return folder, read_config(path, has_head="lm_head.weight" in folder)


def plan(
    checkpoint: Source,
    network: NetworkConfig,
    precisions: Precisions,
    kv: KVFormat = FLOAT_KV,
    dtype: Literal["float32", "float16"] = "float32",
) -> Planned:
    """Emit the graphs and lay out their weight files, without reading any weight.

    The layout is the same whatever the types of cache and activations: all graphs share the files.
    """
    graphs = []
    if network.vision is not None:
        vision = GraphWriter("vision", WeightPlan("vision.data"), OPSET)
        ops = OrtOps(vision, precisions.vision, precisions.embedding, 0, checkpoint, dtype=dtype)
        emit_vision(ops, network.vision, network.decoder.hidden_size)
        graphs.append(vision)
    decoder = GraphWriter("decoder", WeightPlan("decoder.data"), OPSET)
    level = precisions.accuracy_level if dtype == "float32" else 0  # CUDA has no 8-bit activations
    ops = OrtOps(decoder, precisions.decoder, precisions.embedding, level, checkpoint, kv, dtype)
    emit_decoder(ops, network)
    graphs.append(decoder)
    for graph in graphs:
        graph.plan.check(checkpoint)
    return Planned(network, tuple(graphs))


def _stream(planned: Planned, checkpoint: Source, partial: Path, journal: Journal, progress: Progress | None) -> str:
    """Fill the weight files; returns a hash over all source tensors."""
    done_bytes = 0
    for graph in planned.graphs:
        path = partial / graph.plan.file_name
        path.touch()
        os.truncate(path, graph.plan.size_bytes)
        with path.open("r+b") as file:
            for slot, compute in graph.plan.tables.values():
                file.seek(slot.offset)
                file.write(compute().astype(slot.dtype).tobytes())
            for weight in graph.plan.weights:
                key = f"{graph.name}/{weight.name}"
                size = sum(slot.nbytes for slot in weight.slots)
                if key not in journal:
                    sha256 = fill(weight, checkpoint, file)
                    file.flush()
                    os.fsync(file.fileno())
                    journal.add(key, sha256, size)
                done_bytes += size
                if progress:
                    progress(weight.name, done_bytes, planned.size_bytes)
    return hashlib.sha256(json.dumps(sorted(journal.hashes.items())).encode()).hexdigest()


def _manifest(name: str, source: str, source_sha256: str, planned: Planned, tokenizer: Tokenizer) -> Manifest:
    decoder, vision = planned.network.decoder, planned.network.vision
    return Manifest(
        format_version=FORMAT_VERSION,
        name=name,
        architecture=planned.network.architecture,
        source=source,
        source_sha256=source_sha256,
        quantization=planned.formats(),
        dialect="ort",
        tokenizer_version=tokenizer.version,
        context_length=decoder.context_length,
        hidden_size=decoder.hidden_size,
        num_attention_heads=decoder.num_attention_heads,
        intermediate_size=decoder.intermediate_size,
        vocab_size=decoder.vocab_size,
        tied_embeddings=decoder.tied_embeddings,
        image_token_id=planned.network.image_token_id,
        kv=KVLayout(decoder.num_hidden_layers, decoder.num_key_value_heads, decoder.head_dim, "float32"),
        image=_image_settings(vision, tokenizer) if vision else None,
        files={},
    )


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """List and hash every file of `folder` and write `bundle.json`."""
    files = {
        path.relative_to(folder).as_posix(): FileEntry(path.stat().st_size, file_sha256(path))
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != MANIFEST
    }
    listed = Manifest(**{**manifest.__dict__, "files": files})
    (folder / MANIFEST).write_text(listed.to_json(), encoding="utf-8")


def _publish(partial: Path, target: Path, manifest: Manifest) -> None:
    write_manifest(partial, manifest)
    partial.rename(target)


def _tokenizer_path(checkpoint: Path) -> Path:
    path = (checkpoint.parent if checkpoint.is_file() else checkpoint) / "tekken.json"
    if not path.exists():
        raise MissingPart(
            f"{path} is missing: Lineside tokenizes with mistral-common and needs Mistral's own tekken.json"
        )
    return path


def _image_settings(vision: VisionConfig, tokenizer: Tokenizer) -> ImageSettings:
    image = image_config(tokenizer)
    return ImageSettings(
        vision.patch_size,
        vision.spatial_merge_size,
        image.max_image_size,
        vision.grid_size,
        vision.hidden_size,
        vision.intermediate_size,
    )


def image_config(tokenizer: Tokenizer) -> ImageConfig:
    """Raises Unsupported where the tokenizer does not take pictures."""
    if tokenizer.image_config is None:
        raise Unsupported("tekken.json has no image section: this checkpoint does not take pictures")
    return tokenizer.image_config


def _check_tokenizer(network: NetworkConfig, tokenizer: Tokenizer, path: Path) -> None:
    vision = network.vision
    if tokenizer.vocab_size > network.decoder.vocab_size:
        sizes = f"{tokenizer.vocab_size} tokens, the checkpoint {network.decoder.vocab_size}"
        raise Unsupported(f"{path} has {sizes}: it belongs to another checkpoint")
    if vision is None:
        return
    image = image_config(tokenizer)
    found = (image.image_patch_size, image.spatial_merge_size)
    if found != (vision.patch_size, vision.spatial_merge_size):
        wanted = (vision.patch_size, vision.spatial_merge_size)
        raise Unsupported(f"{path} has patch and merge size {found}, config.json {wanted}")
    if -(-image.max_image_size // vision.patch_size) > vision.grid_size:
        sizes = f"max_image_size {image.max_image_size}, config.json image_size {vision.max_image_size}"
        raise Unsupported(f"{path} allows larger pictures than the tower: {sizes}")


def _check_pieces(file: GgufCheckpoint, tokenizer: Tokenizer, path: Path) -> None:
    """A GGUF file carries its vocabulary: the tokenizer beside it must have the same."""
    for number, (own, stored) in enumerate(zip(tokenizer.token_bytes, file.pieces(), strict=False)):
        if stored is not None and own and own != stored:
            raise Unsupported(
                f"{path} belongs to another model: token {number} is {own!r} there, {stored!r} in the file"
            )


def _check_disk(target: Path, needed: int) -> None:
    free = shutil.disk_usage(target.absolute().parent).free
    if free < needed + SPARE_BYTES:
        wanted = (needed + SPARE_BYTES) / 1e9
        raise DiskTooSmall(f"{target.absolute().parent} has {free / 1e9:.2f} GB free, the bundle needs {wanted:.2f} GB")


def _card(name: str, planned: Planned) -> str:
    decoder, vision = planned.network.decoder, planned.network.vision
    formats = planned.formats()
    tower = f"{vision.num_hidden_layers} layers of {vision.hidden_size}, {formats['vision']}" if vision else "none"
    return (
        f"# {name}\n\nExported by Lineside from a {planned.network.architecture} checkpoint.\n\n"
        f"- decoder: {decoder.num_hidden_layers} layers of {decoder.hidden_size}, {formats['decoder']}\n"
        f"- vision tower: {tower}\n"
        f"- embeddings and head: {formats['embedding']}\n"
        f"- context: {decoder.context_length} tokens\n\nIt has not been evaluated by Lineside.\n"
    )
