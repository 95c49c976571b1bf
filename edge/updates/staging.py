"""A bundle is put together beside those that are there: what was fetched before it broke off is not fetched again."""

from __future__ import annotations

import hashlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from lineside.edge.errors import UpdateError
from lineside.edge.lasting import replace_file, sync_folder
from lineside.edge.updates.disk import full, writing
from lineside.edge.updates.models_store import ModelsStore
from lineside.edge.updates.signatures import SIGNATURE, check_signature
from lineside.edge.updates.sources import Source
from lineside.runtime.bundle import Bundle, file_sha256, open_bundle, verify_hashes
from lineside.runtime.errors import BundleDamaged, BundleError
from lineside.runtime.manifest import MANIFEST, FileEntry, Manifest, parse_manifest

MANIFEST_BYTES = 4 * 1024 * 1024
SPARE_BYTES = 16 * 1024 * 1024
PARTIAL = ".partial"


@dataclass(frozen=True)
class Wanted:
    """What is to be installed: where from, the SHA-256 of its `bundle.json` where it is known, and whose it must be."""

    source: Source
    sha256: str | None = None
    key: Path | None = None


def fetch(store: ModelsStore, wanted: Wanted) -> Bundle:
    """The bundle, every file as its manifest lists it: in the store where it is installed already, else staged.

    Raises:
        UpdateError: it is not the one that was meant, is not signed, cannot be fetched, or does not fit on the disk.
        BundleFormat: it is no bundle that this Lineside reads.
        BundleDamaged: a file has another hash than its manifest says; it is fetched again the next time.
    """
    raw = _read_small(wanted.source, MANIFEST)
    sha256 = hashlib.sha256(raw).hexdigest()
    if wanted.sha256 is not None and sha256 != wanted.sha256.lower():
        raise UpdateError("hash_differs", f"the SHA-256 of {MANIFEST} is {sha256}, not {wanted.sha256}")
    if wanted.key is not None:
        check_signature(raw, _read_small(wanted.source, SIGNATURE), wanted.key)
    manifest = parse_manifest(raw, Path(MANIFEST))
    if (there := _installed(store, sha256)) is not None:
        return there
    folder = store.staging(sha256)
    _check_room(store.folder, folder, manifest)
    for name, entry in manifest.files.items():
        _fetch_file(wanted.source, folder, name, entry)
    with writing(store.folder):
        for inner in {(folder / name).parent for name in manifest.files}:
            sync_folder(inner)
        replace_file(folder / MANIFEST, raw)
    return _verified(folder)


def _installed(store: ModelsStore, sha256: str) -> Bundle | None:
    """None where it is not there, or is damaged: it is fetched anew then."""
    try:
        bundle = open_bundle(store.bundle(sha256))
        verify_hashes(bundle)
    except BundleError:
        return None
    return bundle


def _read_small(source: Source, name: str) -> bytes:
    content = b""
    for chunk in source.chunks(name, 0):
        content += chunk
        if len(content) > MANIFEST_BYTES:
            raise UpdateError("too_large", f"{name} has more than {MANIFEST_BYTES} bytes")
    return content


def _check_room(folder: Path, staged: Path, manifest: Manifest) -> None:
    needed = sum(entry.bytes for entry in manifest.files.values()) + SPARE_BYTES
    with writing(folder):
        there = sum(path.stat().st_size for path in staged.rglob("*") if path.is_file())
        missing = needed - there - shutil.disk_usage(folder).free
    if missing > 0:
        raise full(folder, missing)


def _fetch_file(source: Source, folder: Path, name: str, entry: FileEntry) -> None:
    """On the disk when it returns. One that broke off is gone on with."""
    path = folder / name
    partial = path.with_name(path.name + PARTIAL)
    with writing(folder):
        if path.exists():
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        had = partial.stat().st_size if partial.exists() else 0
    if had > entry.bytes:
        had = 0
    with writing(folder), partial.open("r+b" if had else "wb") as file:
        file.truncate(had)
        file.seek(had)
        if had < entry.bytes or not had:
            for chunk in source.chunks(name, had):
                if not chunk:
                    file.seek(0)
                    file.truncate()
                file.write(chunk)
                if file.tell() > entry.bytes:
                    break
        size = file.tell()
        file.flush()
        os.fsync(file.fileno())
    if size != entry.bytes:
        if size > entry.bytes:
            partial.unlink()
        raise UpdateError("broken_off", f"{name} has {size} bytes instead of {entry.bytes}: install the model again")
    with writing(folder):
        os.replace(partial, path)


def _verified(folder: Path) -> Bundle:
    """Every file is read. One that is damaged goes, so that it is fetched anew."""
    bundle = open_bundle(folder)
    for name, entry in bundle.manifest.files.items():
        path = bundle.file(name)
        with writing(folder):
            found = file_sha256(path)
            if found != entry.sha256:
                path.unlink()
        if found != entry.sha256:
            raise BundleDamaged(f"{name} was damaged on its way (SHA-256 differs): install the model again")
    return bundle
