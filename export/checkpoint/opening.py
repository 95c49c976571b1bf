"""Open a checkpoint, whatever its format."""

from __future__ import annotations

from pathlib import Path

from lineside.export.checkpoint import hugging_face, mistral
from lineside.export.checkpoint.adapter import merge
from lineside.export.checkpoint.complete import check_tensors
from lineside.export.checkpoint.gguf import GgufCheckpoint
from lineside.export.checkpoint.mmproj import find_mmproj
from lineside.export.checkpoint.source import Source
from lineside.export.checkpoint.tensors import Checkpoint
from lineside.export.errors import Unsupported
from lineside.export.network.config import NetworkConfig


def open_checkpoint(path: Path, adapter: Path | None = None) -> tuple[Source, NetworkConfig]:
    """The checkpoint's tensors and its network, of a folder or a GGUF file; reads no weight.

    Args:
        adapter: the folder of a LoRA adapter that is merged into it.

    Raises:
        MissingPart, Unsupported: see `export.errors`; every tensor has its place, and every place its tensor.
    """
    source, network = _open(path)
    if adapter is not None:
        if not isinstance(source, Checkpoint):
            raise Unsupported(f"{path} is rounded already: merge {adapter} into the original weights")
        source = merge(source, adapter)
    check_tensors(source, network)
    return source, network


def _open(path: Path) -> tuple[Source, NetworkConfig]:
    if path.is_file():
        file = GgufCheckpoint(path, vision=find_mmproj(path))
        return file, file.config()
    if not hugging_face.find(path) and mistral.find(path):
        return mistral.open_folder(path)
    return hugging_face.open_folder(path)
