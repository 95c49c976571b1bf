"""The tensors of a network by Lineside's names, and the shape of each."""

from __future__ import annotations

from lineside.export.network.config import NetworkConfig, VisionConfig


def tensor_shapes(network: NetworkConfig) -> dict[str, tuple[int, ...]]:
    """Of every tensor that the graphs ask for."""
    decoder, vision = network.decoder, network.vision
    hidden, inner = decoder.hidden_size, decoder.intermediate_size
    heads, kv = (n * decoder.head_dim for n in (decoder.num_attention_heads, decoder.num_key_value_heads))
    shapes: dict[str, tuple[int, ...]] = {
        "decoder.embed_tokens.weight": (decoder.vocab_size, hidden),
        "decoder.norm.weight": (hidden,),
    }
    if not decoder.tied_embeddings:
        shapes["lm_head.weight"] = (decoder.vocab_size, hidden)
    for layer in range(decoder.num_hidden_layers):
        at = f"decoder.layers.{layer}"
        for name, rows, columns in (("q", heads, hidden), ("k", kv, hidden), ("v", kv, hidden), ("o", hidden, heads)):
            shapes[f"{at}.self_attn.{name}_proj.weight"] = (rows, columns)
        shapes |= _mlp(f"{at}.mlp", hidden, inner)
        shapes |= {f"{at}.{name}_layernorm.weight": (hidden,) for name in ("input", "post_attention")}
    return shapes | (_vision_shapes(vision, hidden) if vision else {})


def _vision_shapes(vision: VisionConfig, target: int) -> dict[str, tuple[int, ...]]:
    size, merged = vision.hidden_size, vision.spatial_merge_size**2
    shapes: dict[str, tuple[int, ...]] = {
        "vision.patch_conv.weight": (size, 3, vision.patch_size, vision.patch_size),
        "vision.ln_pre.weight": (size,),
        "projector.linear_1.weight": (target, size),
        "projector.linear_2.weight": (target, target),
    }
    if vision.merges:
        shapes["projector.norm.weight"] = (size,)
        shapes["projector.patch_merger.merging_layer.weight"] = (size, merged * size)
    if vision.projector_bias:
        shapes |= {f"projector.linear_{n}.bias": (target,) for n in (1, 2)}
    for layer in range(vision.feature_layer):
        at = f"vision.transformer.layers.{layer}"
        shapes |= {f"{at}.attention.{p}_proj.weight": (size, size) for p in "qkvo"}
        shapes |= _mlp(f"{at}.feed_forward", size, vision.intermediate_size)
        shapes |= {f"{at}.{name}_norm.weight": (size,) for name in ("attention", "ffn")}
    return shapes


def _mlp(at: str, hidden: int, inner: int) -> dict[str, tuple[int, ...]]:
    shapes = {f"{at}.{name}_proj.weight": (inner, hidden) for name in ("gate", "up")}
    return {**shapes, f"{at}.down_proj.weight": (hidden, inner)}
