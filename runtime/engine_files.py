"""TensorRT engines beside a bundle, and whether they can be used on a GPU.

An engine is code for one kind of GPU and one version of TensorRT, and is made from one bundle.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from runtime.bundle import Bundle, FileEntry, file_sha256
from runtime.errors import EnginesUnusable

ENGINES = "engines"
"""Folder of a bundle, with a folder for each target, library and version."""
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
        cache_lengths: in tokens; `decoder.{length}.engine` for each.
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


def built_engines(bundle: Bundle) -> list[str]:
    """Names of the folders with engines, `TARGET-LIBRARY-VERSION`, unchecked."""
    return sorted(path.parent.name for path in (bundle.path / ENGINES).glob("*/engines.json"))


def engine_bytes(bundle: Bundle, target: str) -> int:
    """Of the engines for `target`, all of which a session loads; 0 where there are none."""
    folders = (bundle.path / ENGINES / name for name in built_engines(bundle) if name.startswith(f"{target}-"))
    return min((sum(file.stat().st_size for file in folder.glob("*.engine")) for folder in folders), default=0)


def find_engines(bundle: Bundle, target: str, library: str, version: str) -> tuple[Path, EngineSet]:
    """The folder of the engines for this GPU and this TensorRT, checked byte for byte.

    Raises EnginesUnusable, saying what is there instead and which command builds what is needed.
    """
    command = f"`lineside engine {bundle.path} --target {target}`"
    folder = bundle.path / ENGINES / f"{target}-{library}-{version}"
    if not (folder / "engines.json").is_file():
        found = built_engines(bundle)
        there = f"there are engines for {', '.join(found)}" if found else "there are none"
        raise EnginesUnusable(f"no engines for {target} and {library} {version} ({there}): build them with {command}")
    engines = _read(folder / "engines.json", command)
    if engines.format != FORMAT:
        raise EnginesUnusable(f"{folder} was built by another version of Lineside: build anew with {command}")
    if engines.bundle_sha256 != bundle.sha256:
        raise EnginesUnusable(f"{folder} was built from another bundle than the one it lies in: build with {command}")
    if (engines.target, engines.library, engines.library_version) != (target, library, version):
        built = f"{engines.target} with {engines.library} {engines.library_version}"
        raise EnginesUnusable(f"{folder} was built for {built} and renamed: build with {command}")
    for name, entry in engines.files.items():
        file = folder / name
        if not file.is_file() or file.stat().st_size != entry.bytes or file_sha256(file) != entry.sha256:
            raise EnginesUnusable(f"{file} is missing, cut off or damaged: build it anew with {command}")
    return folder, engines


def _read(path: Path, command: str) -> EngineSet:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        data.setdefault("format", 1)
        data["files"] = {name: FileEntry(**entry) for name, entry in data["files"].items()}
        data["cache_lengths"] = tuple(data["cache_lengths"])
        return EngineSet(**{field.name: data[field.name] for field in fields(EngineSet)})
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise EnginesUnusable(f"{path} cannot be read ({error!r}): build anew with {command}") from error
