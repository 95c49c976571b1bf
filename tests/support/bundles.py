"""Bundles of an earlier format, and ones that say something else of their model."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from lineside.runtime.bundle import Bundle, open_bundle
from lineside.runtime.manifest import LARGEST_MAGNITUDE, MANIFEST, MINIMUM_SQUARED_ERROR, NO_ROUNDING, Quantizer

FORMAT_3_KEYS = ("rounds", "taught", "prompt_template", "quantizer", "supersedes", "inspection")


def copy_bundle(source: Path, target: Path) -> Path:
    return Path(shutil.copytree(source, target))


def damaged(bundle: Path, folder: Path) -> Path:
    """A copy in which one weight differs: it shows only where the file is read."""
    copy = copy_bundle(bundle, folder)
    weights = bytearray((copy / "decoder.data").read_bytes())
    weights[100] ^= 0x40
    (copy / "decoder.data").write_bytes(weights)
    return copy


def edit_manifest(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    manifest = json.loads((path / MANIFEST).read_text())
    change(manifest)
    (path / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n")


def as_format_2(path: Path) -> Bundle:
    """Take from a bundle's manifest what format 2 does not say."""

    def change(manifest: dict[str, Any]) -> None:
        manifest["format_version"] = 2
        for key in FORMAT_3_KEYS:
            del manifest[key]

    edit_manifest(path, change)
    return open_bundle(path)


def without_scales(quantizer: Mapping[str, tuple[Quantizer, ...]]) -> dict[str, tuple[Quantizer, ...]]:
    """As format 2 says it: no type of scales, nothing of what INT4 was fitted to, nor which way has most weights."""
    methods = {4: MINIMUM_SQUARED_ERROR, 8: LARGEST_MAGNITUDE, 32: NO_ROUNDING}
    return {
        part: tuple(
            replace(way, scales=None, calibration=None, method=methods[way.bits])
            for way in sorted(ways, key=lambda way: way.bits, reverse=True)
        )
        for part, ways in quantizer.items()
    }
