"""Sizes of the default model, for its tokenizer, its data and its network."""

from __future__ import annotations

from dataclasses import dataclass

PATCH_SIZE = 16
MERGE = 3
TOKEN_SIZE = PATCH_SIZE * MERGE
"""Pixels along the side of what becomes one image token."""
READING_LAYERS = 1
"""New layers of the decoder behind those from SmolLM2."""
MAX_IMAGE_SIZE = 576
CONTEXT_LENGTH = 4096
SCREW_SIZES = ((576, 240), (576, 240), (576, 288))
"""Width and height that the runtime makes of the ball-screw pictures; a training step draws one."""


@dataclass(frozen=True)
class Size:
    """What differs between the model that two CPU cores can train in an evening and the one for a GPU.

    The decoder starts as `decoder_layers` of SmolLM2-135M's thirty, so its widths are given.
    """

    vision_hidden: int
    vision_intermediate: int
    vision_layers: int
    decoder_layers: tuple[int, ...]


SMALL = Size(256, 704, 5, (0, 1, 8, 11, 15, 19, 20, 24, 27, 29))
LARGE = Size(384, 1024, 6, (0, 1, 8, 9, 11, 15, 16, 18, 19, 20, 24, 27, 29))
"""The layers are those that `prune.py` leaves."""
