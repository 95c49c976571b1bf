"""The default model: a small Mistral3 network, made and trained with transformers' own modules.

Training runs whole batches of equally sized pictures, which transformers' forward pass would lay out as one long
block-masked sequence; `batched_image_embeds` and `batched_hidden` compute the same thing batch-wise.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import Mistral3Config, Mistral3ForConditionalGeneration

PATCH_SIZE = 14
MAX_IMAGE_SIZE = 448
CONTEXT_LENGTH = 2048


def make_config(vocab_size: int) -> Mistral3Config:
    """Configuration with about 6.5 million parameters."""
    vision = {
        "model_type": "pixtral", "hidden_size": 192, "intermediate_size": 512, "num_hidden_layers": 6,
        "num_attention_heads": 6, "head_dim": 32, "patch_size": PATCH_SIZE, "image_size": MAX_IMAGE_SIZE,
        "hidden_act": "silu", "num_channels": 3,
        "rope_parameters": {"rope_theta": 100.0, "rope_type": "axial"},
    }  # fmt: skip
    text = {
        "model_type": "mistral", "vocab_size": vocab_size, "hidden_size": 256, "intermediate_size": 768,
        "num_hidden_layers": 4, "num_attention_heads": 8, "num_key_value_heads": 2, "head_dim": 32,
        "hidden_act": "silu", "max_position_embeddings": CONTEXT_LENGTH, "rms_norm_eps": 1e-5, "sliding_window": None,
        "rope_parameters": {"rope_theta": 10000.0, "rope_type": "default"},
        "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 11, "tie_word_embeddings": True,
    }  # fmt: skip
    return Mistral3Config(
        vision_config=vision, text_config=text, image_token_index=10, spatial_merge_size=2, tie_word_embeddings=True
    )


def make_model(vocab_size: int) -> Mistral3ForConditionalGeneration:
    """A model with fresh weights (seed torch first)."""
    return Mistral3ForConditionalGeneration(make_config(vocab_size))


def batched_image_embeds(model: Mistral3ForConditionalGeneration, pixels: Tensor) -> Tensor:
    """Pictures `(B, 3, H, W)` to image embeddings `(B, H/28 * W/28, hidden)`."""
    tower: Any = model.model.vision_tower
    projector: Any = model.model.multi_modal_projector
    grid = tower.patch_conv(pixels)  # (B, D, h, w)
    h, w = grid.shape[-2:]
    hidden = tower.ln_pre(grid.flatten(2).transpose(1, 2))  # (B, h*w, D)
    rows, columns = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
    positions = torch.stack([rows.flatten(), columns.flatten()], dim=-1).to(pixels.device)  # (h*w, 2)
    rotary = tower.patch_positional_embedding(hidden, positions)
    for layer in tower.transformer.layers:
        hidden = layer(hidden, attention_mask=None, position_embeddings=rotary)
    hidden = projector.norm(hidden).transpose(1, 2).unflatten(2, (h, w))  # (B, D, h, w)
    merged = torch.nn.functional.unfold(hidden, kernel_size=2, stride=2).transpose(1, 2)  # (B, h*w/4, 4*D)
    merged = projector.linear_1(projector.patch_merger.merging_layer(merged))
    return torch.as_tensor(projector.linear_2(projector.act(merged)))


def batched_hidden(model: Mistral3ForConditionalGeneration, ids: Tensor, image_embeds: Tensor | None) -> Tensor:
    """Token ids `(B, T)`, padded on the right, to the decoder's last hidden states `(B, T, hidden)`."""
    language: Any = model.model.language_model
    hidden = language.embed_tokens(ids)
    if image_embeds is not None:
        mask = (ids == model.config.image_token_index).unsqueeze(-1)
        hidden = hidden.masked_scatter(mask, image_embeds.to(hidden.dtype))
    # Padding is on the right, where a causal mask already keeps it out of every other token's sight.
    return torch.as_tensor(language(inputs_embeds=hidden, use_cache=False).last_hidden_state)
