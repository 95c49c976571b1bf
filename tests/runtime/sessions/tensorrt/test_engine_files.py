"""Engines beside a bundle: those of the bundle before its upgrade are used, those of another are not."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from lineside.runtime.bundle import file_sha256, open_bundle
from lineside.runtime.errors import EnginesUnusable
from lineside.runtime.manifest import FileEntry
from lineside.runtime.sessions.tensorrt.engine_files import ENGINES, FORMAT, LISTING, EngineSet, find_engines
from lineside.runtime.upgrade import upgrade_bundle
from tests.support.bundles import as_format_2, copy_bundle


def write_engines(bundle: Path, sha256: str) -> Path:
    """A listing as `lineside engine` leaves it, with a file that is no engine."""
    folder = bundle / ENGINES / "sm89-tensorrt-10.13"
    folder.mkdir(parents=True)
    file = folder / "decoder.64.engine"
    file.write_bytes(b"code for a GPU")
    files = {file.name: FileEntry(file.stat().st_size, file_sha256(file))}
    engines = EngineSet(FORMAT, sha256, "sm89", "tensorrt", "10.13", "float16", 48, (64,), files)
    (folder / LISTING).write_text(json.dumps(asdict(engines)))
    return folder


def test_engines_built_before_the_upgrade_are_used(random_bundle: Path, tmp_path: Path) -> None:
    path = copy_bundle(random_bundle, tmp_path / "bundle")
    folder = write_engines(path, as_format_2(path).sha256)
    found, engines = find_engines(upgrade_bundle(path), "sm89", "tensorrt", "10.13")
    assert found == folder
    assert engines.cache_lengths == (64,)


def test_engines_of_another_bundle_are_not(random_bundle: Path, tmp_path: Path) -> None:
    path = copy_bundle(random_bundle, tmp_path / "bundle")
    write_engines(path, "0" * 64)
    with pytest.raises(EnginesUnusable, match="was built from another bundle"):
        find_engines(open_bundle(path), "sm89", "tensorrt", "10.13")
