"""What is found before the work starts: a tokenizer that belongs to another model, and a disk that is too small."""

from __future__ import annotations

import shutil
from pathlib import Path

from mistral_common.tokens.tokenizers.image import ImageConfig

from lineside.export.checkpoint.gguf import GgufCheckpoint
from lineside.export.errors import DiskTooSmall, MissingPart, Unsupported
from lineside.export.network.config import NetworkConfig, VisionConfig
from lineside.runtime.manifest import ImageSettings
from lineside.runtime.text.tokenizer import Tokenizer

SPARE_BYTES = 64 * 1024 * 1024
"""Graphs, tokenizer and self-test besides the weights, generously."""


def find_tokenizer(checkpoint: Path) -> Path:
    """The tekken.json in a checkpoint's folder, or beside its file. Raises MissingPart."""
    path = (checkpoint.parent if checkpoint.is_file() else checkpoint) / "tekken.json"
    if not path.exists():
        raise MissingPart(
            f"{path} is missing: Lineside tokenizes with mistral-common and needs Mistral's own tekken.json"
        )
    return path


def image_settings(vision: VisionConfig, tokenizer: Tokenizer) -> ImageSettings:
    """How pictures are cut for this tower. Raises Unsupported where the tokenizer does not take pictures."""
    return ImageSettings(
        vision.patch_size,
        vision.spatial_merge_size,
        _image_config(tokenizer).max_image_size,
        vision.grid_size,
        vision.hidden_size,
        vision.intermediate_size,
    )


def check_tokenizer(network: NetworkConfig, tokenizer: Tokenizer, path: Path) -> None:
    """Raises Unsupported where the tokenizer at `path` does not fit the network."""
    vision = network.vision
    if tokenizer.vocab_size > network.decoder.vocab_size:
        sizes = f"{tokenizer.vocab_size} tokens, the checkpoint {network.decoder.vocab_size}"
        raise Unsupported(f"{path} has {sizes}: it belongs to another checkpoint")
    if vision is None:
        return
    image = _image_config(tokenizer)
    found = (image.image_patch_size, image.spatial_merge_size)
    if found != (vision.patch_size, vision.spatial_merge_size):
        wanted = (vision.patch_size, vision.spatial_merge_size)
        raise Unsupported(f"{path} has patch and merge size {found}, config.json {wanted}")
    if -(-image.max_image_size // vision.patch_size) > vision.grid_size:
        sizes = f"max_image_size {image.max_image_size}, config.json image_size {vision.max_image_size}"
        raise Unsupported(f"{path} allows larger pictures than the tower: {sizes}")


def check_pieces(file: GgufCheckpoint, tokenizer: Tokenizer, path: Path) -> None:
    """A GGUF file carries its vocabulary. Raises Unsupported where the tokenizer at `path` has another one."""
    for number, (own, stored) in enumerate(zip(tokenizer.token_bytes, file.pieces(), strict=False)):
        if stored is not None and own and own != stored:
            raise Unsupported(
                f"{path} belongs to another model: token {number} is {own!r} there, {stored!r} in the file"
            )


def check_disk(target: Path, needed_bytes: int) -> None:
    """Raises DiskTooSmall where `needed_bytes` and some spare ones do not fit beside `target`."""
    folder = next(path for path in target.absolute().parents if path.is_dir())
    free = shutil.disk_usage(folder).free
    if free < needed_bytes + SPARE_BYTES:
        wanted = (needed_bytes + SPARE_BYTES) / 1e9
        raise DiskTooSmall(f"{folder} has {free / 1e9:.2f} GB free, the bundle needs {wanted:.2f} GB")


def _image_config(tokenizer: Tokenizer) -> ImageConfig:
    if tokenizer.image_config is None:
        raise Unsupported("tekken.json has no image section: this checkpoint does not take pictures")
    return tokenizer.image_config
