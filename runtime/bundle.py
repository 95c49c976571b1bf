"""The bundle: a directory with graphs, weights, tokenizer and self-test, described by `bundle.json`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Any

from lineside.runtime.errors import BundleDamaged, BundleFormat

FORMAT_VERSION = 2
MANIFEST = "bundle.json"
DEFAULT_BUNDLE = Path(__file__).parent / "models" / "default"
"""The small model that ships in the package."""
CHUNK_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True)
class FileEntry:
    bytes: int
    sha256: str


@dataclass(frozen=True)
class KVLayout:
    """One key and one value buffer a layer, each `(1, num_key_value_heads, capacity, head_dim)`."""

    num_hidden_layers: int
    num_key_value_heads: int
    head_dim: int
    dtype: str

    @property
    def bytes_per_token(self) -> int:
        return self.bytes_of(self.dtype)

    def bytes_of(self, dtype: str) -> int:
        """A token's bytes in a cache of another type."""
        itemsize = {"float32": 4, "float16": 2, "int8": 1}[dtype]
        return 2 * self.num_hidden_layers * self.num_key_value_heads * self.head_dim * itemsize


@dataclass(frozen=True)
class ImageSettings:
    """Pictures are fitted to `max_image_size` and cut into patches of `patch_size` pixels, of which blocks of
    `spatial_merge_size` squared become one token. `grid_size` is the row length of the flat patch positions.

    `hidden_size` and `intermediate_size` are the tower's."""

    patch_size: int
    spatial_merge_size: int
    max_image_size: int
    grid_size: int
    hidden_size: int
    intermediate_size: int


@dataclass(frozen=True)
class Manifest:
    """The contents of `bundle.json`. `image` is null where there is no `vision.onnx`: a model without vision.

    `verbatim_arguments`: free texts in the arguments of calls are words of the conversation
    (see `runtime.grammar.verbatim`).
    `any_way_up`: the model was taught to inspect pictures whichever way up they are
    (see `runtime.inspection.augmentation`).
    """

    format_version: int
    name: str
    architecture: str
    source: str
    source_sha256: str
    quantization: Mapping[str, str]
    dialect: str
    tokenizer_version: str
    context_length: int
    hidden_size: int
    num_attention_heads: int
    intermediate_size: int
    vocab_size: int
    tied_embeddings: bool
    image_token_id: int
    kv: KVLayout
    image: ImageSettings | None
    files: Mapping[str, FileEntry]
    verbatim_arguments: bool = False
    any_way_up: bool = False

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2) + "\n"


@dataclass(frozen=True)
class Bundle:
    """An opened bundle. `sha256` is the hash of `bundle.json`, which holds the hashes of all else."""

    path: Path
    manifest: Manifest
    sha256: str

    def file(self, name: str) -> Path:
        return self.path / name


def open_bundle(path: Path) -> Bundle:
    """Read the manifest and see that every file is there with its size. Reads no weights.

    Raises:
        BundleFormat: no or bad `bundle.json`, or another format version.
        BundleDamaged: a file is missing or has another size.
    """
    raw = _read(path)
    manifest = _parse(raw, path / MANIFEST)
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
    return _parse(_read(path), path / MANIFEST)


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


def _parse(raw: bytes, path: Path) -> Manifest:
    try:
        data: dict[str, Any] = json.loads(raw)
        if data.get("format_version") != FORMAT_VERSION:
            version = data.get("format_version")
            raise BundleFormat(f"{path}: format version {version}, this Lineside reads {FORMAT_VERSION}: export anew")
        data["kv"] = KVLayout(**data["kv"])
        data["image"] = ImageSettings(**data["image"]) if data["image"] is not None else None
        data["files"] = {name: FileEntry(**entry) for name, entry in data["files"].items()}
        _refuse_outside(data["files"], path)
        return Manifest(**{f.name: data[f.name] for f in fields(Manifest) if f.name in data or f.default is MISSING})
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BundleFormat(f"{path} is not a bundle manifest ({error!r})") from error


def _refuse_outside(names: Mapping[str, FileEntry], path: Path) -> None:
    for name in names:
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise BundleFormat(f"{path}: file name {name!r} leads out of the bundle")
