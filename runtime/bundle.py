"""The bundle: a directory with graphs, weights, tokenizer and self-test, described by `bundle.json`."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from lineside.runtime.errors import BundleDamaged, BundleFormat
from lineside.runtime.manifest import MANIFEST, Manifest, parse_manifest

CHUNK_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True)
class Bundle:
    """An opened bundle. `sha256` is the hash of `bundle.json`, which holds the hashes of all else."""

    path: Path
    manifest: Manifest
    sha256: str

    def file(self, name: str) -> Path:
        return self.path / name

    def answers_to(self, sha256: str) -> bool:
        """Whether what was learnt, calibrated or built for the bundle `sha256` holds for this one.

        It does for the bundle itself, and for those that it was upgraded from: the weights are the same.
        """
        return sha256 == self.sha256 or sha256 in self.manifest.supersedes


def open_bundle(path: Path) -> Bundle:
    """Read the manifest and see that every file is there with its size. Reads no weights.

    Raises:
        BundleFormat: no or bad `bundle.json`, or one that this Lineside does not read.
        BundleDamaged: a file is missing or has another size.
    """
    raw = _read(path)
    manifest = parse_manifest(raw, path / MANIFEST)
    for name, entry in manifest.files.items():
        file = path / name
        if not file.is_file():
            raise BundleDamaged(f"{file} is missing: copy the bundle again or export it anew")
        if file.stat().st_size != entry.bytes:
            raise BundleDamaged(
                f"{file} has {file.stat().st_size} bytes instead of {entry.bytes}: copy the bundle again"
            )
    return Bundle(path, manifest, hashlib.sha256(raw).hexdigest())


def read_manifest(path: Path) -> Manifest:
    """The manifest alone, whether or not the files are there. Raises BundleFormat."""
    return parse_manifest(_read(path), path / MANIFEST)


def verify_hashes(bundle: Bundle) -> None:
    """Read every file and compare its SHA-256. Raises BundleDamaged, naming the first file that differs."""
    for name, entry in bundle.manifest.files.items():
        if file_sha256(bundle.file(name)) != entry.sha256:
            raise BundleDamaged(f"{bundle.file(name)} is damaged (SHA-256 differs): copy the bundle again")


def file_sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _read(path: Path) -> bytes:
    try:
        return (path / MANIFEST).read_bytes()
    except OSError as error:
        raise BundleFormat(
            f"{path / MANIFEST} cannot be read ({error.strerror}): is {path} a bundle folder?"
        ) from error
