"""What an export of the model will need, and whether there can be one, before its gigabytes are downloaded.

A safetensors file says in its first kilobytes which tensors it holds. With these, and holes for the rest, the
checkpoint opens as the whole one will: everything that an export refuses without reading a weight is refused here.
"""

from __future__ import annotations

import shutil
import struct
from pathlib import Path

from lineside.export.bundle.checks import check_tokenizer, find_tokenizer
from lineside.export.bundle.options import ExportOptions
from lineside.export.bundle.plan import plan
from lineside.export.checkpoint.opening import open_checkpoint
from lineside.export.errors import PullFailed
from lineside.export.pull.hub import Hub
from lineside.export.pull.listing import HubFile, Listing
from lineside.runtime.text.tokenizer import Tokenizer

WEIGHTS = ".safetensors"
MOST_HEADER = 100 * 1024 * 1024
"""The format's own limit."""
GGUF_FACTOR = 1.5
"""A bundle against the GGUF file that it is made from, at most: scales of the K formats become float32."""


def bundle_bytes(hub: Hub, listing: Listing, checkpoint: Path, folder: Path, options: ExportOptions) -> int:
    """Bytes of the bundle's weights.

    Args:
        checkpoint: where the small files lie already.
        folder: to work in; it is made, and removed again.

    Raises:
        ExportError: the checkpoint cannot be exported; or PullFailed.
    """
    shards = [file for file in listing.files if file.name.endswith(WEIGHTS)]
    if not shards:
        return int(sum(file.size for file in listing.files) * GGUF_FACTOR)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        for file in listing.files:
            if file in shards:
                _write_header(hub, file, listing.commit, folder / file.name)
            else:
                shutil.copyfile(checkpoint / file.name, folder / file.name)
        source, network = open_checkpoint(folder)
        tokenizer = find_tokenizer(folder)
        check_tokenizer(network, Tokenizer(tokenizer), tokenizer)
        return plan(source, network, options.precisions).size_bytes
    finally:
        shutil.rmtree(folder)


def _write_header(hub: Hub, file: HubFile, commit: str, path: Path) -> None:
    """The file's beginning, and a hole of the size of the rest."""
    length = hub.head(file, commit, 8)
    (size,) = struct.unpack("<Q", length) if len(length) == 8 else (MOST_HEADER + 1,)
    if size > min(MOST_HEADER, file.size):
        raise PullFailed(f"{file.name} is no safetensors file: {hub.endpoint} holds something else under that name")
    with path.open("wb") as out:
        out.write(length + hub.head(file, commit, size, 8))
        out.truncate(file.size)
