"""The bundle: a directory with graphs, weights, tokenizer and self-test, described by `bundle.json`."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lineside.runtime.errors import BundleDamaged, BundleFormat
from lineside.runtime.manifest import MANIFEST, Manifest, parse_manifest

CHUNK_BYTES = 4 * 1024 * 1024
HASHING_THREADS = 4


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
    with verified(bundle):
        pass


@contextmanager
def verified(bundle: Bundle) -> Iterator[None]:
    """Read every file and compare its SHA-256, on threads of its own, beside what the block does; the block ends once
    all are known to be whole.

    Raises:
        BundleDamaged: naming the first file that differs; also in place of what the block raised, which that explains.
    """
    stop = threading.Event()
    largest_first = sorted(bundle.manifest.files, key=lambda name: -bundle.manifest.files[name].bytes)
    with ThreadPoolExecutor(HASHING_THREADS, "verify") as pool:
        damages = [pool.submit(_damage, bundle, name, stop) for name in largest_first]
        try:
            yield
        except Exception as error:
            if damage := _first(damages):
                raise BundleDamaged(damage) from error
            raise
        except BaseException:  # interrupted
            stop.set()
            raise
        if damage := _first(damages):
            raise BundleDamaged(damage)


def _damage(bundle: Bundle, name: str, stop: threading.Event) -> str:
    path = bundle.file(name)
    try:
        whole = file_sha256(path, stop) == bundle.manifest.files[name].sha256
    except OSError as error:
        return f"{path} cannot be read ({error.strerror}): copy the bundle again"
    return "" if whole else f"{path} is damaged (SHA-256 differs): copy the bundle again"


def _first(damages: list[Future[str]]) -> str:
    return next(filter(None, (damage.result() for damage in damages)), "")


def file_sha256(path: Path, stop: threading.Event | None = None) -> str:
    """Of the whole file, or of what was read until `stop`."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while (chunk := file.read(CHUNK_BYTES)) and not (stop and stop.is_set()):
            digest.update(chunk)
    return digest.hexdigest()


def _read(path: Path) -> bytes:
    try:
        return (path / MANIFEST).read_bytes()
    except OSError as error:
        raise BundleFormat(
            f"{path / MANIFEST} cannot be read ({error.strerror}): is {path} a bundle folder?"
        ) from error
