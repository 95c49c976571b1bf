"""Checkpoint folder in, bundle folder out: plan, check, stream the weights, self-test, publish.

Work happens in `BUNDLE.partial` (`bundle.workplace`), with a journal of the weights that are complete; a broken-off
export goes on from there. The folder gets its name when everything in it has been written and tested.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from lineside.export.bundle.calibrate import Measured, run_floats
from lineside.export.bundle.card import card
from lineside.export.bundle.checks import check_disk, check_pieces, check_tokenizer, find_tokenizer, image_settings
from lineside.export.bundle.filling import Filling, Progress
from lineside.export.bundle.golden import write_golden
from lineside.export.bundle.memory import check_memory
from lineside.export.bundle.nearness import check, measure
from lineside.export.bundle.options import ExportOptions
from lineside.export.bundle.plan import Planned, plan
from lineside.export.bundle.stamp import stamp
from lineside.export.bundle.workplace import check_target, workplace
from lineside.export.checkpoint.gguf import GgufCheckpoint
from lineside.export.checkpoint.opening import open_checkpoint
from lineside.export.checkpoint.source import Source
from lineside.export.graph.kv import FLOAT_KV, KVDtype, KVFormat, kv_scales
from lineside.export.network.config import NetworkConfig
from lineside.runtime.bundle import file_sha256
from lineside.runtime.manifest import FORMAT_VERSION, MANIFEST, FileEntry, KVLayout, Manifest
from lineside.runtime.text.tokenizer import Tokenizer

EXACT_GRAPH = "decoder.exact.onnx"
"""The decoder with exact activations, on which the self-test of GPUs is made; it does not stay."""

DEFAULTS = ExportOptions()


def export_bundle(
    path: Path,
    target: Path,
    options: ExportOptions = DEFAULTS,
    *,
    adapter: Path | None = None,
    progress: Progress | None = None,
) -> Path:
    """Export the checkpoint `path`, a folder or a GGUF file with a tekken.json beside it, to the bundle `target`.

    Args:
        adapter: the folder of a LoRA adapter that is merged into it.

    Raises:
        ExportError: see `export.errors`; everything that can be found before the work starts is.
    """
    check_target(target)
    checkpoint, network = open_checkpoint(path, adapter)
    tokenizer_path = find_tokenizer(path)
    if isinstance(checkpoint, GgufCheckpoint):
        check_pieces(checkpoint, Tokenizer(tokenizer_path), tokenizer_path)
    return write_bundle(checkpoint, network, tokenizer_path, path.name, target, options, progress=progress)


def write_bundle(
    checkpoint: Source,
    network: NetworkConfig,
    tokenizer_path: Path,
    name: str,
    target: Path,
    options: ExportOptions = DEFAULTS,
    *,
    progress: Progress | None = None,
) -> Path:
    """Export an opened checkpoint; `name` is that of its folder or file."""
    tokenizer = Tokenizer(tokenizer_path)
    planned = plan(checkpoint, network, options.precisions)
    check_tokenizer(network, tokenizer, tokenizer_path)
    with workplace(target) as place:
        check_memory(planned)
        check_disk(target, planned.size_bytes - place.allocated_bytes())
        sizes = {file.file_name: file.size_bytes for file in planned.files.values()}
        place.take_up(stamp(planned, options, tokenizer_path), sizes)
        with Filling(planned, place, progress) as filling:
            measured = run_floats(filling, planned, tokenizer, options.kv_dtype)
            source_sha256 = filling.fill_rest()
        manifest = _manifest(target.name, name, source_sha256, planned, tokenizer, options)
        manifest, kv = _save_graphs(planned, place.folder, manifest, options.kv_dtype, measured)
        agreement = measure(place.folder, manifest, measured)
        check(agreement, options, place.folder.parent)
        shutil.copyfile(tokenizer_path, place.folder / "tekken.json")
        (place.folder / "model_card.md").write_text(card(name, planned, agreement), encoding="utf-8")
        _write_self_test(planned, place.folder, manifest, kv)
        write_manifest(place.folder, manifest)
        place.publish()
    return target


def _save_graphs(
    planned: Planned, partial: Path, manifest: Manifest, kv_dtype: KVDtype, measured: Measured
) -> tuple[Manifest, KVFormat]:
    """Write the graphs for a CPU, and for a GPU where that is a target.

    Returns the manifest with the cache's type, and the cache of the CPU's graph.
    """
    for graph in planned.graphs():
        graph.save(partial / f"{graph.name}.onnx")
    kv, kv_of_gpu = FLOAT_KV, KVFormat("float16")
    if kv_dtype != "float32":
        kv = kv_of_gpu = KVFormat(kv_dtype, kv_scales(measured.largest) if kv_dtype == "int8" else {})
        planned.decoder(kv).save(partial / "decoder.onnx")
        manifest = replace(manifest, kv=replace(manifest.kv, dtype=kv_dtype))
    for graph in planned.graphs(kv_of_gpu, "float16") if planned.precisions.target == "any" else []:
        graph.save(partial / f"{graph.name}.float16.onnx")
    return manifest, kv


def _write_self_test(planned: Planned, partial: Path, manifest: Manifest, kv: KVFormat) -> None:
    if not planned.precisions.accuracy_level:
        write_golden(partial, manifest)
        return
    planned.decoder(kv, exact=True).save(partial / EXACT_GRAPH)
    write_golden(partial, manifest, EXACT_GRAPH)
    (partial / EXACT_GRAPH).unlink()


def _manifest(
    name: str, source: str, source_sha256: str, planned: Planned, tokenizer: Tokenizer, options: ExportOptions
) -> Manifest:
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
        image=image_settings(vision, tokenizer) if vision else None,
        files={},
        verbatim_arguments=options.verbatim_arguments,
        any_way_up=options.any_way_up,
        rounds=options.declaration.rounds,
        taught=options.declaration.taught,
        prompt_template=options.declaration.prompt_template,
        quantizer=planned.quantizer(),
        supersedes=(),
        inspection=options.declaration.inspection,
        target=options.precisions.target,
    )


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """List and hash every file of `folder` and write `bundle.json`, in this Lineside's format."""
    files = {
        path.relative_to(folder).as_posix(): FileEntry(path.stat().st_size, file_sha256(path))
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != MANIFEST
    }
    listed = replace(manifest, format_version=FORMAT_VERSION, files=files)
    (folder / MANIFEST).write_text(listed.to_json(), encoding="utf-8")
