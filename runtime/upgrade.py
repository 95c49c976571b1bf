"""Bring a bundle up to this Lineside's format, or declare anew what its model was taught, without the checkpoint."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from lineside.runtime.bundle import Bundle, open_bundle
from lineside.runtime.errors import BundleNotWritten
from lineside.runtime.manifest import FORMAT_VERSION, MANIFEST, Manifest
from lineside.runtime.taught_file import Declaration, read_taught


def upgrade_bundle(path: Path, declared: Path | None = None) -> Bundle:
    """Write the bundle's `bundle.json` anew where it is of an older format, or says something else than `declared`.

    Weights stay as they are, and what was learnt, calibrated or built for the bundle goes on being used. Nothing is
    written where there is nothing to change.

    Args:
        declared: a file that says what the model was taught (`runtime.taught_file`), in place of what the bundle says.

    Raises:
        BundleFormat, BundleDamaged: it is not a bundle that this Lineside reads.
        DeclarationError: `declared` cannot be used.
        BundleNotWritten: its folder cannot be written.
    """
    bundle = open_bundle(path)
    before = bundle.manifest
    said = Declaration(before.taught, before.rounds, before.prompt_template, before.inspection)
    if declared is not None:
        said = read_taught(declared)
    wanted = replace(
        before,
        format_version=FORMAT_VERSION,
        taught=said.taught,
        rounds=said.rounds,
        prompt_template=said.prompt_template,
        inspection=said.inspection,
    )
    if wanted == before:
        return bundle
    _replace_manifest(path / MANIFEST, replace(wanted, supersedes=(*before.supersedes, bundle.sha256)))
    return open_bundle(path)


def _replace_manifest(path: Path, manifest: Manifest) -> None:
    """In one step, so that nobody reads half of it, and a power cut leaves the old one or the new one."""
    partial = path.with_name(f"{path.name}.partial")
    try:
        with partial.open("w", encoding="utf-8") as file:
            file.write(manifest.to_json())
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        advice = "copy the bundle to a folder of yours and upgrade it there"
        raise BundleNotWritten(f"{path} cannot be written ({error.strerror}): {advice}") from error
