"""Read `config.json` of a Hugging Face checkpoint of the Mistral family.

Sources: the published configs, and what transformers 4.57, 5.0, 5.16 and 5.24 write, whose defaults differ from the
published ones in places (see the comments).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lineside.export.checkpoint.config_rope import axial_theta, query_scale, read_rope
from lineside.export.checkpoint.section import Section
from lineside.export.errors import MissingPart, Unsupported
from lineside.export.network.config import MAX_CONTEXT, DecoderConfig, NetworkConfig, VisionConfig

MULTIMODAL = ("Mistral3ForConditionalGeneration", "LlavaForConditionalGeneration")
TEXT_ONLY = ("MistralForCausalLM", "Ministral3ForCausalLM")
ACTIVATIONS = ("silu", "gelu")
DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "mistral": {
        "vocab_size": 32000, "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
        "num_attention_heads": 32, "num_key_value_heads": 8, "max_position_embeddings": 131072, "rms_norm_eps": 1e-6,
        "sliding_window": 4096,
    },
    "ministral3": {
        "vocab_size": 131072, "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 34,
        "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128, "max_position_embeddings": 262144,
        "rms_norm_eps": 1e-5,
        "rope_parameters": {
            "rope_type": "yarn", "rope_theta": 1e6, "factor": 16.0, "original_max_position_embeddings": 16384,
            "beta_fast": 32.0, "beta_slow": 1.0, "mscale_all_dim": 1.0, "mscale": 1.0, "llama_4_scaling_beta": 0.1,
        },
    },
    "pixtral": {
        "hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16,
        "image_size": 1024, "patch_size": 16, "hidden_act": "gelu",
    },
}  # fmt: skip
"""What transformers' classes take for a key that is left out; it leaves out what equals them (Pixtral 12B's config)."""
IGNORED = frozenset(
    [
        "architectures",
        "model_type",
        "transformers_version",
        "torch_dtype",
        "dtype",
        "_name_or_path",
        "_commit_hash",
        "auto_map",
        "_attn_implementation_autoset",
        "attn_implementation",
        "use_cache",
        "initializer_range",
        "attention_dropout",
        "id2label",
        "label2id",
        "return_dict",
        "output_attentions",
        "output_hidden_states",
        "torchscript",
        "use_bfloat16",
        "tf_legacy_loss",
        "pruned_heads",
        "is_encoder_decoder",
        "is_decoder",
        "cross_attention_hidden_size",
        "add_cross_attention",
        "tie_encoder_decoder",
        "chunk_size_feed_forward",
        "finetuning_task",
        "problem_type",
        "task_specific_params",
        "tokenizer_class",
        "prefix",
        "bos_token_id",
        "eos_token_id",
        "pad_token_id",
        "sep_token_id",
        "decoder_start_token_id",
        "max_length",
        "min_length",
        "do_sample",
        "early_stopping",
        "num_beams",
        "num_beam_groups",
        "diversity_penalty",
        "temperature",
        "top_k",
        "top_p",
        "typical_p",
        "repetition_penalty",
        "length_penalty",
        "no_repeat_ngram_size",
        "encoder_no_repeat_ngram_size",
        "bad_words_ids",
        "num_return_sequences",
        "output_scores",
        "return_dict_in_generate",
        "forced_bos_token_id",
        "forced_eos_token_id",
        "remove_invalid_values",
        "exponential_decay_length_penalty",
        "suppress_tokens",
        "begin_suppress_tokens",
        "unsloth_fixed",
        "unsloth_version",
        "image_seq_length",
        "is_composition",
    ]
)
"""Keys that change nothing in what the network computes: how it is trained, sampled, loaded and named."""


def read_config(values: object, path: Path, *, has_head: bool) -> NetworkConfig:
    """Parse the contents of `path`.

    Args:
        has_head: whether the checkpoint stores an `lm_head`. One that is stored is used, whatever the keys say:
            `tie_word_embeddings` defaults to True in transformers 5 although the 24B is untied.

    Raises:
        MissingPart: a key is missing, or the head that the config promises.
        Unsupported: another architecture, or an option that the graphs do not express.
    """
    config = Section(values, path)
    named = config.get("architectures", ["none"])
    architecture = str(named[0]) if isinstance(named, list) and named else "none"
    if architecture not in (*MULTIMODAL, *TEXT_ONLY):
        supported = ", ".join((*MULTIMODAL, *TEXT_ONLY))
        raise Unsupported(f"{path}: architecture {architecture} is not supported; supported: {supported}")
    if architecture in TEXT_ONLY:
        own = {"MistralForCausalLM": "mistral", "Ministral3ForCausalLM": "ministral3"}[architecture]
        config = Section(_completed(values, own), path)
        config.choice("model_type", (own,))
        tied = _tied(config, None, has_head=has_head, default=False)
        decoder = _decoder(config, tied=tied)
        config.close(IGNORED)
        return NetworkConfig(architecture, decoder, None, image_token_id=-1)
    text = Section(_completed(config.get("text_config"), "mistral"), path, "text_config.")
    tied = _tied(config, text, has_head=has_head, default=architecture == MULTIMODAL[0])
    decoder = _decoder(text, tied=tied)
    merges = architecture == MULTIMODAL[0]
    vision = _vision(config, decoder, merges=merges)
    index = config.whole("image_token_index", config.get("image_token_id", 10 if merges else 32000))
    image = index, config.whole("image_token_id", index)
    if image[0] != image[1]:
        raise Unsupported(f"{path}: image_token_index is {image[0]}, image_token_id {image[1]}")
    text.close(IGNORED)
    config.close(IGNORED)
    return NetworkConfig(architecture, decoder, vision, image_token_id=image[0])


def _completed(values: object, kind: str) -> object:
    """With the defaults of the class that `model_type` names, `kind` where it names none."""
    if not isinstance(values, Mapping):
        return values
    return {**DEFAULTS.get(str(values.get("model_type", kind)), {}), "model_type": kind, **values}


def _tied(config: Section, text: Section | None, *, has_head: bool, default: bool) -> bool:
    said = config.get("tie_word_embeddings", default if text is None else text.get("tie_word_embeddings", default))
    if text is not None:
        text.get("tie_word_embeddings", None)
    if not isinstance(said, bool):
        raise Unsupported(f"{config.name('tie_word_embeddings')} = {said!r} is neither true nor false")
    if not has_head and not said:
        raise MissingPart(
            f"{config.name('tie_word_embeddings')} is false, and no shard holds lm_head.weight: fetch it again"
        )
    return not has_head


def _decoder(text: Section, *, tied: bool) -> DecoderConfig:
    kind = text.choice("model_type", ("mistral", "ministral3"))
    text.choice("hidden_act", ("silu",), "silu")
    for key in ("attention_bias", "mlp_bias", "use_qk_norm"):
        text.require(key, supported=False)
    text.require("partial_rotary_factor", 1.0)
    context = text.whole("max_position_embeddings")
    window = text.get("sliding_window", None)
    if window is not None and not (isinstance(window, int) and window >= context):
        raise Unsupported(f"{text.name('sliding_window')} = {window!r} is not supported; supported: None")
    layers, heads, hidden = (text.whole(key) for key in ("num_hidden_layers", "num_attention_heads", "hidden_size"))
    kinds = text.get("layer_types", [])
    if any(layer != "full_attention" for layer in kinds):
        raise Unsupported(
            f"{text.name('layer_types')} names others than full_attention, which is all that is supported"
        )
    head_dim = text.whole("head_dim", hidden // heads)
    return DecoderConfig(
        hidden_size=hidden,
        intermediate_size=text.whole("intermediate_size"),
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=text.whole("num_key_value_heads", heads),
        head_dim=head_dim,
        vocab_size=text.whole("vocab_size"),
        context_length=min(context, MAX_CONTEXT),
        rms_norm_eps=text.number("rms_norm_eps"),
        rope=read_rope(text, head_dim, context),
        tied_embeddings=tied,
        query_scale=query_scale(text) if kind == "ministral3" else None,
    )


def _vision(config: Section, decoder: DecoderConfig, *, merges: bool) -> VisionConfig:
    vision = Section(_completed(config.get("vision_config"), "pixtral"), config.path, "vision_config.")
    vision.choice("model_type", ("pixtral",))
    vision.require("num_channels", 3)
    layers, hidden = vision.whole("num_hidden_layers"), vision.whole("hidden_size")
    heads = vision.whole("num_attention_heads")
    vision.require("head_dim", hidden // heads)
    layer = config.get("vision_feature_layer", -1 if merges else -2)
    if isinstance(layer, bool) or not isinstance(layer, int) or not -layers <= layer <= layers:
        raise Unsupported(
            f"{config.name('vision_feature_layer')} = {layer!r} is not one of the tower's {layers} layers"
        )
    if not merges:
        config.choice("vision_feature_select_strategy", ("full",), "default")
        config.require("spatial_merge_size", 1)
    read = VisionConfig(
        hidden_size=hidden,
        intermediate_size=vision.whole("intermediate_size"),
        num_hidden_layers=layers,
        num_attention_heads=heads,
        patch_size=vision.whole("patch_size"),
        max_image_size=vision.whole("image_size"),
        spatial_merge_size=config.whole("spatial_merge_size", 2) if merges else 1,
        rope_theta=axial_theta(vision),
        activation=vision.choice("hidden_act", ACTIVATIONS),
        projector_activation=config.choice("projector_hidden_act", ACTIVATIONS, "gelu"),
        projector_bias=config.flag("multimodal_projector_bias", not merges),
        feature_layer=layer if layer >= 0 else layers + 1 + layer,
        projector_norm_eps=decoder.rms_norm_eps,
        merges=merges,
    )
    vision.close(IGNORED | {"vocab_size", "tie_word_embeddings"})
    return read
