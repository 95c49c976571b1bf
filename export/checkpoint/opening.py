"""Open a checkpoint, whatever its format."""

from __future__ import annotations

from pathlib import Path

from lineside.export.checkpoint import hugging_face, mistral
from lineside.export.checkpoint.complete import check_tensors
from lineside.export.checkpoint.gguf import GgufCheckpoint
from lineside.export.checkpoint.source import Source
from lineside.export.network.config import NetworkConfig


def open_checkpoint(path: Path) -> tuple[Source, NetworkConfig]:
    """The checkpoint's tensors and its network, of a folder or a GGUF file; reads no weight.

    Raises:
        MissingPart, Unsupported: see `export.errors`; every tensor has its place, and every place its tensor.
    """
    source, network = _open(path)
    check_tensors(source, network)
    return source, network


def _open(path: Path) -> tuple[Source, NetworkConfig]:
    if path.is_file():
        file = GgufCheckpoint(path)
        return file, file.config()
    if not hugging_face.find(path) and mistral.find(path):
        return mistral.open_folder(path)
    return hugging_face.open_folder(path)
