"""The default model: a small Mistral3 network, made and trained with transformers' own modules.

Training runs whole batches of equally sized pictures, which transformers' forward pass would lay out as one long
block-masked sequence; `patch_features` and `image_embeds` compute the same thing batch-wise.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from transformers import Mistral3Config, Mistral3ForConditionalGeneration

from lineside.export.default_model.networks.size import (
    CONTEXT_LENGTH,
    MAX_IMAGE_SIZE,
    MERGE,
    PATCH_SIZE,
    READING_LAYERS,
    SMALL,
    Size,
)

HEAD_DIM = 32
CLIP_MEAN = torch.tensor([0.48145466, 0.4578275, 0.40821073]).view(3, 1, 1)
CLIP_STD = torch.tensor([0.26862954, 0.26130258, 0.27577711]).view(3, 1, 1)
"""How Pixtral normalizes pixels."""


def make_config(vocab_size: int, size: Size = SMALL) -> Mistral3Config:
    """Configuration with 3.5 million parameters a decoder layer."""
    vision = {
        "model_type": "pixtral", "hidden_size": size.vision_hidden, "intermediate_size": size.vision_intermediate,
        "num_hidden_layers": size.vision_layers, "num_attention_heads": size.vision_hidden // HEAD_DIM,
        "head_dim": HEAD_DIM, "patch_size": PATCH_SIZE, "image_size": MAX_IMAGE_SIZE, "hidden_act": "silu",
        "num_channels": 3, "rope_parameters": {"rope_theta": 100.0, "rope_type": "axial"},
    }  # fmt: skip
    text = {
        "model_type": "mistral", "vocab_size": vocab_size, "hidden_size": 576, "intermediate_size": 1536,
        "num_hidden_layers": READING_LAYERS + len(size.decoder_layers),
        "num_attention_heads": 9, "num_key_value_heads": 3,
        "head_dim": 64, "hidden_act": "silu", "max_position_embeddings": CONTEXT_LENGTH, "rms_norm_eps": 1e-5,
        "sliding_window": None, "rope_parameters": {"rope_theta": 100000.0, "rope_type": "default"},
        "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 11, "tie_word_embeddings": True,
    }  # fmt: skip
    return Mistral3Config(
        vision_config=vision, text_config=text, image_token_index=10, spatial_merge_size=MERGE, tie_word_embeddings=True
    )


def make_model(vocab_size: int, size: Size = SMALL) -> Mistral3ForConditionalGeneration:
    """A model with fresh weights (seed torch first)."""
    return Mistral3ForConditionalGeneration(make_config(vocab_size, size))


@contextmanager
def without_reading(decoder: Any) -> Iterator[None]:
    """Leave the reading layer out for a while: the decoder is then what came from SmolLM2."""
    layers = decoder.layers
    decoder.layers = layers[:-READING_LAYERS]
    try:
        yield
    finally:
        decoder.layers = layers


def normalized(pictures: Tensor) -> Tensor:
    """Pictures `(B, H, W, 3)` uint8 to pixels `(B, 3, H, W)` as the tower wants them."""
    pixels = pictures.permute(0, 3, 1, 2).float() / 255
    return (pixels - CLIP_MEAN.to(pixels.device)) / CLIP_STD.to(pixels.device)


def patch_features(model: Mistral3ForConditionalGeneration, pixels: Tensor) -> Tensor:
    """Pictures `(B, 3, H, W)` to the tower's features, one for each patch, `(B, D, H/p, W/p)`."""
    tower: Any = model.model.vision_tower
    grid = tower.patch_conv(pixels)  # (B, D, h, w)
    h, w = grid.shape[-2:]
    hidden = tower.ln_pre(grid.flatten(2).transpose(1, 2))  # (B, h*w, D)
    rows, columns = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
    positions = torch.stack([rows.flatten(), columns.flatten()], dim=-1).to(pixels.device)  # (h*w, 2)
    rotary = tower.patch_positional_embedding(hidden, positions)
    for layer in tower.transformer.layers:
        hidden = layer(hidden, attention_mask=None, position_embeddings=rotary)
    return torch.as_tensor(hidden.transpose(1, 2).unflatten(2, (h, w)))


def image_embeds(model: Mistral3ForConditionalGeneration, features: Tensor) -> Tensor:
    """Patch features `(B, D, h, w)` to image embeddings `(B, h/m * w/m, hidden)`."""
    projector: Any = model.model.multi_modal_projector
    normed = projector.norm(features.movedim(1, -1)).movedim(-1, 1)
    merged = torch.nn.functional.unfold(normed, kernel_size=MERGE, stride=MERGE).transpose(1, 2)  # (B, T, D*m*m)
    merged = projector.linear_1(projector.patch_merger.merging_layer(merged))
    return torch.as_tensor(projector.linear_2(projector.act(merged)))
