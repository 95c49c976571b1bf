"""The Mistral decoder: pre-norm blocks of grouped-query attention and a gated MLP."""

from __future__ import annotations

from lineside.export.network.config import NetworkConfig
from lineside.export.network.ops import Ops


def emit_decoder(ops: Ops, network: NetworkConfig) -> None:
    """Token ids, image embeddings and KV cache to the logits of the positions asked for."""
    config = network.decoder
    hidden_size, eps = config.hidden_size, config.rms_norm_eps
    ids, image_embeds = ops.decoder_inputs(network)
    hidden = ops.embed(ids, config)
    if image_embeds:
        hidden = ops.place_images(ids, hidden, image_embeds, network.image_token_id)
    query_size = config.num_attention_heads * config.head_dim
    qkv_size = query_size + 2 * config.num_key_value_heads * config.head_dim
    update = ""
    for layer in range(config.num_hidden_layers):
        at = f"decoder.layers.{layer}"
        norm = f"{at}.input_layernorm.weight"
        if update:
            normed, hidden = ops.add_rms_norm(update, hidden, norm, hidden_size, eps)
        else:
            normed = ops.rms_norm(hidden, norm, hidden_size, eps)
        projections = tuple(f"{at}.self_attn.{p}_proj.weight" for p in "qkv")
        qkv = ops.linear(normed, f"{at}.self_attn.qkv", projections, qkv_size, hidden_size)
        if config.query_scale is not None:
            qkv = ops.scale_queries(qkv, ids, config)
        attended = ops.causal_attention(qkv, layer, config)
        if layer == config.num_hidden_layers - 1:  # only keys and values of the other positions are needed
            attended, hidden = ops.pick_rows(attended), ops.pick_rows(hidden)
        output = f"{at}.self_attn.o_proj.weight"
        update = ops.linear(attended, f"{at}.self_attn.o", (output,), hidden_size, query_size)
        norm = f"{at}.post_attention_layernorm.weight"
        normed, hidden = ops.add_rms_norm(update, hidden, norm, hidden_size, eps)
        update = emit_mlp(ops, normed, f"{at}.mlp", hidden_size, config.intermediate_size, "silu")
    normed, _ = ops.add_rms_norm(update, hidden, "decoder.norm.weight", hidden_size, eps)
    ops.head(normed, config)


def emit_mlp(ops: Ops, x: str, at: str, hidden_size: int, intermediate_size: int, activation: str) -> str:
    """`down(act(gate(x)) * up(x))`."""
    sources = (f"{at}.gate_proj.weight", f"{at}.up_proj.weight")
    gate, up = ops.split(ops.linear(x, f"{at}.gate_up", sources, 2 * intermediate_size, hidden_size))
    gated = ops.multiply(ops.activation(gate, activation), up)
    return ops.linear(gated, f"{at}.down", (f"{at}.down_proj.weight",), hidden_size, intermediate_size)
