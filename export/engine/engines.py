"""All engines of a bundle for one target, in `BUNDLE/engines/TARGET-LIBRARY-VERSION/`.

See `runtime.sessions.tensorrt.engine_files`.

Work happens in a folder that ends in `.partial`; a broken-off build keeps the engines that are complete, and a new one
takes over those that are there. TensorRT's measurements of kernels stay beside it, in a file that ends in `.timings`.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from lineside.export.engine.build import Profile, Progress, build_engine
from lineside.export.engine.kept import take_over
from lineside.export.engine.library import Library, choose_library
from lineside.export.errors import DiskTooSmall, EngineBuildFailed
from lineside.export.exported import Exported
from lineside.export.graph.standard import Dtype
from lineside.export.graph.standard_graphs import decoder_graph, save_graph, vision_graph
from lineside.export.graph.writer import GraphWriter
from lineside.runtime.bundle import Bundle, file_sha256, open_bundle, verify_hashes
from lineside.runtime.errors import EnginesUnusable
from lineside.runtime.manifest import FileEntry
from lineside.runtime.sessions.interface import MAX_DECODE_TOKENS
from lineside.runtime.sessions.tensorrt.engine_files import (
    ENGINES,
    FORMAT,
    LISTING,
    EngineSet,
    find_engines,
    folder_name,
)

log = logging.getLogger("lineside.engine")
DTYPE: Dtype = "float16"
PREFILL_TOKENS = 512
"""The longest chunk of a prompt; a shorter cache takes no more than it holds."""
DEFAULT_CACHE = 8192
STAMP = "stamp.json"
SPARE = 1.3
"""Of an engine over its weights, and the graph's file beside it."""


def build_engines(
    path: Path, target: str, *, cache_lengths: Sequence[int] = (), present: str = "", gpu: str = "",
    progress: Progress | None = None,
) -> Path:  # fmt: skip
    """Build the vision engine and a decoder engine for each cache length; returns their folder.

    What is there already is not built again. Decoders for other lengths stay, but are not loaded any more.

    Args:
        target: such as `sm89`.
        cache_lengths: in tokens; the context, but no more than `DEFAULT_CACHE`, where left out.
        present, gpu: compute capability and name of this machine's GPU, where there is one.

    Raises:
        ExportError: see `export.errors`. EngineError: the bundle is damaged.
    """
    bundle = open_bundle(path)
    if bundle.manifest.target == "cpu":
        raise EngineBuildFailed(f"{path} was exported for a CPU alone: export it without `--target cpu`")
    verify_hashes(bundle)
    lengths = tuple(cache_lengths) or (min(bundle.manifest.context_length, DEFAULT_CACHE),)
    _check_lengths(bundle, lengths)
    library = choose_library(target, present)
    measured_on = gpu if library.measures else ""
    folder = path / ENGINES / folder_name(target, library.name, library.version, measured_on)
    before = _finished(bundle, folder, library, target, measured_on)
    if before is not None and set(before.cache_lengths) == set(lengths):
        log.info("%s is there already", folder)
        return folder
    partial = _begin(folder, json.dumps([FORMAT, bundle.sha256, DTYPE, PREFILL_TOKENS]))
    kept = take_over(before.files, folder, partial) if before is not None else {}
    names = []
    for graph, profiles in engine_parts(Exported(bundle), lengths):
        name = f"{graph.name}.engine"
        names.append(name)
        if not (partial / name).exists():
            _build(library, graph, profiles, target, partial, progress)
    (partial / STAMP).unlink()
    built = (partial / name for name in names if name not in kept)
    files = kept | {file.name: FileEntry(file.stat().st_size, file_sha256(file)) for file in built}
    built_with = (target, library.name, library.version)
    engines = EngineSet(FORMAT, bundle.sha256, *built_with, DTYPE, PREFILL_TOKENS, lengths, files, measured_on)
    (partial / LISTING).write_text(json.dumps(asdict(engines), indent=2) + "\n", encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)
    return folder


def _finished(bundle: Bundle, folder: Path, library: Library, target: str, gpu: str) -> EngineSet | None:
    """What `folder` holds, where a session would load it."""
    try:
        found, engines = find_engines(bundle, target, library.name, library.version, gpu)
    except EnginesUnusable:
        return None
    made_alike = (engines.dtype, engines.prefill_tokens) == (DTYPE, PREFILL_TOKENS)
    return engines if found == folder and made_alike else None


def _begin(folder: Path, wanted: str) -> Path:
    """The folder to work in, with what a build that was broken off has left if that was made from the same."""
    partial = folder.with_name(folder.name + ".partial")
    stamp = partial / STAMP
    if partial.exists() and (not stamp.exists() or stamp.read_text() != wanted):
        shutil.rmtree(partial)
    try:
        partial.mkdir(parents=True, exist_ok=True)
        stamp.write_text(wanted)
    except OSError as error:
        advice = "copy the bundle to a folder of yours"
        raise EngineBuildFailed(f"{partial} cannot be written ({error.strerror}): {advice}") from error
    return partial


def engine_parts(exported: Exported, lengths: Sequence[int]) -> list[tuple[GraphWriter, list[Profile]]]:
    """Every graph that becomes an engine, with what it is tuned for."""
    parts: list[tuple[GraphWriter, list[Profile]]] = []
    vision = vision_graph(exported, DTYPE)
    image = exported.bundle.manifest.image
    if vision is not None and image is not None:
        merged = image.spatial_merge_size**2
        most = (image.max_image_size // image.patch_size) ** 2
        parts.append((vision, [{"N": (merged, most, most)}]))
    decode = {"T": (1, 1, MAX_DECODE_TOKENS), "R": (1, 1, MAX_DECODE_TOKENS), "I": (1, 1, 1)}
    for length in lengths:
        chunk = min(PREFILL_TOKENS, length)
        prefill = {"T": (1, chunk, chunk), "R": (1, 1, 1), "I": (1, 1, chunk)}
        graph = decoder_graph(exported, length, DTYPE)
        graph.name = f"decoder.{length}"
        parts.append((graph, [decode, prefill]))
    return parts


def _build(
    library: Library, graph: GraphWriter, profiles: Sequence[Profile], target: str, folder: Path,
    progress: Progress | None,
) -> None:  # fmt: skip
    needed = int(graph.plan.size_bytes * (1 + SPARE))
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise DiskTooSmall(f"{folder} has {free / 1e9:.2f} GB free, {graph.name} needs {needed / 1e9:.2f} GB")
    scratch = folder / "graph"
    scratch.mkdir(exist_ok=True)
    log.info("%s for %s with %s %s", graph.name, target, library.name, library.version)
    timings = folder.with_suffix(".timings") if library.measures else None
    path, shapes = save_graph(graph, scratch), graph.input_shapes()
    plan = build_engine(library, path, shapes, profiles, target, progress, timings)
    unfinished = folder / "engine.unfinished"
    unfinished.write_bytes(plan)
    unfinished.rename(folder / f"{graph.name}.engine")
    shutil.rmtree(scratch)


def _check_lengths(bundle: Bundle, lengths: Sequence[int]) -> None:
    most = bundle.manifest.context_length
    for length in lengths:
        if not MAX_DECODE_TOKENS < length <= most:
            raise EngineBuildFailed(f"a cache of {length} tokens: the context has {MAX_DECODE_TOKENS + 1} to {most}")
