"""TensorRT engines beside a bundle, and whether they can be used on a GPU.

An engine is code for one kind of GPU and one version of TensorRT, and is made from one bundle. TensorRT itself, which
measures kernels while it builds, makes one that is fast on the very GPU that it was measured on.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from lineside.runtime.bundle import Bundle, file_sha256
from lineside.runtime.errors import EnginesUnusable
from lineside.runtime.manifest import FileEntry

ENGINES = "engines"
"""Folder of a bundle, with a folder for each target, library, version and, where kernels were measured, GPU."""
LISTING = "engines.json"
FORMAT = 2
"""Of the engines' inputs and outputs; others are not loaded."""


@dataclass(frozen=True)
class EngineSet:
    """The contents of `engines.json`.

    Attributes:
        format: see `FORMAT`.
        target: compute capability, such as `sm89`.
        library: `tensorrt` or `tensorrt_rtx`.
        dtype: of activations and the cache.
        prefill_tokens: the longest chunk of a prompt.
        cache_lengths: in tokens, of the decoders that a session loads; `decoder.{length}.engine` for each.
        files: also decoders for other lengths, which were asked for before.
        gpu: name of the GPU on which kernels were measured; empty where none were.
    """

    format: int
    bundle_sha256: str
    target: str
    library: str
    library_version: str
    dtype: str
    prefill_tokens: int
    cache_lengths: tuple[int, ...]
    files: Mapping[str, FileEntry]
    gpu: str = ""

    def used_files(self) -> dict[str, FileEntry]:
        """Those that a session loads."""
        used = {"vision.engine", *(f"decoder.{length}.engine" for length in self.cache_lengths)}
        return {name: entry for name, entry in self.files.items() if name in used}


def folder_name(target: str, library: str, version: str, gpu: str = "") -> str:
    """Such as `sm89-tensorrt-10.13-nvidia-l4`; `gpu` is that of `EngineSet`."""
    words = re.sub(r"[^a-z0-9]+", "-", gpu.lower()).strip("-")
    return "-".join(filter(None, (target, library, version, words)))


def built_engines(bundle: Bundle) -> list[str]:
    """Names of the folders with engines, as `folder_name` makes them, unchecked."""
    return sorted(path.parent.name for path in (bundle.path / ENGINES).glob(f"*/{LISTING}"))


def engine_bytes(bundle: Bundle, target: str) -> int:
    """Of the engines for `target`, all that a session loads; 0 where there are none."""
    sizes = []
    for name in built_engines(bundle):
        if name.startswith(f"{target}-"):
            try:
                engines = _read(bundle.path / ENGINES / name / LISTING, "`lineside engine`")
            except EnginesUnusable:
                continue
            sizes.append(sum(entry.bytes for entry in engines.used_files().values()))
    return min(sizes, default=0)


def find_engines(bundle: Bundle, target: str, library: str, version: str, gpu: str = "") -> tuple[Path, EngineSet]:
    """The folder of the engines for this GPU and this TensorRT, checked byte for byte as far as a session loads them.

    Args:
        gpu: its name, by which engines are found that were measured on it; others need none.

    Raises EnginesUnusable, saying what is there instead and which command builds what is needed.
    """
    command = f"`lineside engine {bundle.path} --target {target}`"
    names = (folder_name(target, library, version, gpu), folder_name(target, library, version))
    folder = next((bundle.path / ENGINES / name for name in names if _listed(bundle, name)), None)
    if folder is None:
        found = built_engines(bundle)
        there = f"there are engines for {', '.join(found)}" if found else "there are none"
        raise EnginesUnusable(f"no engines for {target} and {library} {version} ({there}): build them with {command}")
    engines = _read(folder / LISTING, command)
    if engines.format != FORMAT:
        raise EnginesUnusable(f"{folder} was built by another version of Lineside: build anew with {command}")
    if not bundle.answers_to(engines.bundle_sha256):
        raise EnginesUnusable(f"{folder} was built from another bundle than the one it lies in: build with {command}")
    if (engines.target, engines.library, engines.library_version) != (target, library, version):
        built = f"{engines.target} with {engines.library} {engines.library_version}"
        raise EnginesUnusable(f"{folder} was built for {built} and renamed: build with {command}")
    if engines.gpu not in ("", gpu):
        raise EnginesUnusable(f"{folder} was measured on {engines.gpu}, this is {gpu}: build anew with {command}")
    for name, entry in engines.used_files().items():
        file = folder / name
        if not file.is_file() or file.stat().st_size != entry.bytes or file_sha256(file) != entry.sha256:
            raise EnginesUnusable(f"{file} is missing, cut off or damaged: build it anew with {command}")
    return folder, engines


def _listed(bundle: Bundle, name: str) -> bool:
    return (bundle.path / ENGINES / name / LISTING).is_file()


def _read(path: Path, command: str) -> EngineSet:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        data = {"format": 1, "gpu": ""} | data
        data["files"] = {name: FileEntry(**entry) for name, entry in data["files"].items()}
        data["cache_lengths"] = tuple(data["cache_lengths"])
        return EngineSet(**{field.name: data[field.name] for field in fields(EngineSet)})
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise EnginesUnusable(f"{path} cannot be read ({error!r}): build anew with {command}") from error
