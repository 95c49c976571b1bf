"""Open a folder in Mistral's own format: params.json and consolidated safetensors.

Sources: transformers' conversion of Ministral 3, vLLM's reading of `params.json`. Q and K lie in the order of
interleaved rotary embedding, in the decoder as in the tower.
"""

from __future__ import annotations

from pathlib import Path

from lineside.export.checkpoint.assemble import assemble
from lineside.export.checkpoint.matrices import Interleaved, Matrix
from lineside.export.checkpoint.names import mistral_name
from lineside.export.checkpoint.quantization import Quantization
from lineside.export.checkpoint.section import Section
from lineside.export.checkpoint.shards import find_shards, open_shards, read_json, refuse_strays
from lineside.export.checkpoint.tensors import Checkpoint
from lineside.export.errors import MissingPart, Unsupported
from lineside.export.network.config import MAX_CONTEXT, DecoderConfig, NetworkConfig, VisionConfig
from lineside.export.network.rope import QueryScale, Rope, Yarn, magnitude

PARAMS = "params.json"
INDEX, SINGLE = "consolidated.safetensors.index.json", "consolidated.safetensors"
CONTEXT = 131072
"""Where the file says nothing, as of Mistral Small 3.1."""
MERGER = "patch_merge"
NOTES = frozenset(["model_type", "causal", "vocab_size_padded", "expert_parallel"])


def find(folder: Path) -> list[Path]:
    """The shards; none where the folder is of another kind. Raises MissingPart, Unsupported."""
    return find_shards(folder, INDEX, SINGLE, "consolidated-*-of-*.safetensors")


def open_folder(folder: Path) -> tuple[Checkpoint, NetworkConfig]:
    """Reads no weight. Raises as `hugging_face.open_folder` does."""
    shards, path = find(folder), folder / PARAMS
    refuse_strays(folder, shards)
    params = Section(read_json(path), path)
    params.choice("model_type", ("transformer",), "transformer")
    params.choice("activation", ("silu",), "silu")
    params.require("causal", supported=True)
    tensors = assemble(open_shards(shards), mistral_name, _quantization(params))
    decoder = _decoder(params, has_head="lm_head.weight" in tensors)
    vision, image_token_id = _vision(params, decoder) if "vision_encoder" in params else (None, -1)
    params.close()
    network = NetworkConfig(_architecture(decoder, vision), decoder, vision, image_token_id)
    return Checkpoint(folder, [path, *shards], _half_split(tensors, network)), network


def _architecture(decoder: DecoderConfig, vision: VisionConfig | None) -> str:
    """What transformers calls the same network."""
    if vision is not None:
        return "Mistral3ForConditionalGeneration" if vision.merges else "LlavaForConditionalGeneration"
    return "MistralForCausalLM" if decoder.query_scale is None else "Ministral3ForCausalLM"


def _half_split(tensors: dict[str, Matrix], network: NetworkConfig) -> dict[str, Matrix]:
    decoder, vision = network.decoder, network.vision
    heads = {"q_proj": decoder.num_attention_heads, "k_proj": decoder.num_key_value_heads}
    turned = dict(tensors)
    for name, matrix in tensors.items():
        projection = name.removesuffix(".weight").rpartition(".")[2]
        if projection in heads:
            tower = name.startswith("vision.") and vision is not None
            turned[name] = Interleaved(matrix, vision.num_attention_heads if tower and vision else heads[projection])
    return turned


def _quantization(params: Section) -> Quantization:
    if "quantization" not in params:
        return Quantization()
    section = params.inner("quantization")
    section.choice("qformat_weight", ("fp8_e4m3",))
    section.get("qscheme_act", None)  # activations stay exact here
    section.close()
    return Quantization("fp8")


def _decoder(params: Section, *, has_head: bool) -> DecoderConfig:
    if not has_head and not params.flag("tied_embeddings", default=False):
        raise MissingPart(
            f"{params.name('tied_embeddings')} is false, and no shard holds output.weight: fetch it again"
        )
    params.get("tied_embeddings", None)
    heads, hidden = params.whole("n_heads"), params.whole("dim")
    context = params.whole("max_position_embeddings", params.get("max_seq_len", CONTEXT))
    window = params.get("sliding_window", None)
    if window is not None and not (isinstance(window, int) and window >= context):
        raise Unsupported(f"{params.name('sliding_window')} = {window!r} is not supported; supported: None")
    return DecoderConfig(
        hidden_size=hidden,
        intermediate_size=params.whole("hidden_dim"),
        num_hidden_layers=params.whole("n_layers"),
        num_attention_heads=heads,
        num_key_value_heads=params.whole("n_kv_heads", heads),
        head_dim=params.whole("head_dim", hidden // heads),
        vocab_size=params.whole("vocab_size"),
        context_length=min(context, MAX_CONTEXT),
        rms_norm_eps=params.number("norm_eps"),
        rope=Rope(params.number("rope_theta"), _yarn(params.inner("yarn")) if "yarn" in params else None),
        tied_embeddings=not has_head,
        query_scale=_query_scale(params.inner("llama_4_scaling")) if "llama_4_scaling" in params else None,
    )


def _yarn(section: Section) -> Yarn:
    """`apply_scale` false means no attention factor. Readers disagree where it is missing: it has to be there."""
    factor = section.number("factor")
    read = Yarn(
        factor,
        section.whole("original_max_position_embeddings"),
        beta_fast=section.number("beta"),
        beta_slow=section.number("alpha"),
        attention_factor=magnitude(factor) if section.flag("apply_scale") else 1.0,
    )
    section.close()
    return read


def _query_scale(section: Section) -> QueryScale:
    read = QueryScale(section.number("beta"), section.whole("original_max_position_embeddings"))
    section.close()
    return read


def _vision(params: Section, decoder: DecoderConfig) -> tuple[VisionConfig, int]:
    """The tower, and the id of the image token."""
    vision = params.inner("vision_encoder")
    vision.require("num_channels", 3)
    merges = vision.choice("mm_projector_id", ("", MERGER), "") == MERGER
    vision.require("add_pre_mm_projector_layer_norm", merges)
    if not merges:
        vision.require("spatial_merge_size", 1)
    size, layers = vision.whole("image_size"), vision.whole("num_hidden_layers")
    if vision.whole("max_image_size", size) > size:
        raise Unsupported(f"{vision.name('max_image_size')} is above image_size = {size}")
    for key in ("image_break_token_id", "image_end_token_id"):  # the tokenizer knows them
        vision.get(key, None)
    read = VisionConfig(
        hidden_size=vision.whole("hidden_size"),
        intermediate_size=vision.whole("intermediate_size"),
        num_hidden_layers=layers,
        num_attention_heads=vision.whole("num_attention_heads"),
        patch_size=vision.whole("patch_size"),
        max_image_size=size,
        spatial_merge_size=vision.whole("spatial_merge_size") if merges else 1,
        rope_theta=vision.number("rope_theta"),
        activation="silu",
        projector_activation="gelu",
        projector_bias=vision.flag("adapter_bias", default=not merges),
        feature_layer=layers,
        projector_norm_eps=decoder.rms_norm_eps,
        merges=merges,
    )
    image_token_id = vision.whole("image_token_id", 10)
    vision.close()
    return read, image_token_id
