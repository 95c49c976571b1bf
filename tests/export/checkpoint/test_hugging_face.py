"""Folders of transformers: every version's way of writing is read as the same network, and nothing is passed over."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

from lineside.export.checkpoint.opening import open_checkpoint
from lineside.export.errors import CheckpointError, MissingPart, Unsupported
from lineside.export.network.rope import Linear, Llama3, Yarn
from tests.golden.family import MEMBERS, Tensors, weights

Config = dict[str, Any]


def write(folder: Path, config: Any, tensors: Tensors) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    save_file(tensors, folder / "model.safetensors")
    return folder


def member(name: str = "mistral3") -> tuple[Config, Tensors]:
    return copy.deepcopy(MEMBERS[name].config), weights(MEMBERS[name])


def renamed(tensors: Tensors, *pairs: tuple[str, str]) -> Tensors:
    def name(stored: str) -> str:
        return next((new + stored.removeprefix(old) for old, new in pairs if stored.startswith(old)), stored)

    return {name(stored): array for stored, array in tensors.items()}


def outer_theta(section: Config) -> None:
    section["rope_theta"] = section.pop("rope_parameters")["rope_theta"]


def version_4(config: Config, tensors: Tensors) -> Tensors:
    """4.57 (and, with `torch_dtype`, what is published of Mistral Small 3.1 and 3.2)."""
    for key in ("text_config", "vision_config"):
        outer_theta(config[key])
    for key in ("bos_token_id", "eos_token_id", "pad_token_id", "tie_word_embeddings"):
        del config["text_config"][key]
    config["torch_dtype"] = config.pop("dtype")
    del config["tie_word_embeddings"]
    return tensors


def version_5_0(config: Config, tensors: Tensors) -> Tensors:
    """5.0 to 5.16 call the tower's rotary embedding `default`."""
    config["vision_config"]["rope_parameters"]["rope_type"] = "default"
    return tensors


def in_memory(config: Config, tensors: Tensors) -> Tensors:
    """Names of the modules as they are in transformers 5, and the image token under its newer key."""
    config["image_token_id"] = config.pop("image_token_index")
    return renamed(
        tensors,
        ("language_model.model.", "model.language_model."),
        ("language_model.lm_head.", "lm_head."),
        ("vision_tower.", "model.vision_tower."),
        ("multi_modal_projector.", "model.multi_modal_projector."),
    )


def defaults_left_out(config: Config, tensors: Tensors) -> Tensors:
    """A nested config leaves out what equals its class's default."""
    del config["text_config"]["model_type"], config["vision_config"]["num_channels"]
    config["text_config"]["is_composition"] = True
    return tensors


def old_buffers(_config: Config, tensors: Tensors) -> Tensors:
    return tensors | {"language_model.model.layers.0.self_attn.rotary_emb.inv_freq": np.ones(16, np.float32)}


@pytest.mark.parametrize("change", [version_4, version_5_0, in_memory, defaults_left_out, old_buffers])
def test_every_version_is_read_as_the_same(change: Callable[[Config, Tensors], Tensors], tmp_path: Path) -> None:
    config, tensors = member()
    reference, network = open_checkpoint(write(tmp_path / "reference", config, tensors))
    config, tensors = member()
    tensors = change(config, tensors)
    source, found = open_checkpoint(write(tmp_path / "changed", config, tensors))
    assert found == network
    for name in reference.names():
        np.testing.assert_array_equal(np.concatenate([*source.rows(name)]), np.concatenate([*reference.rows(name)]))


def test_rotary_scaling_is_read_under_old_keys_and_new(tmp_path: Path) -> None:
    scaled = {"factor": 4.0, "original_max_position_embeddings": 256}
    long = {"low_freq_factor": 1.0, "high_freq_factor": 4.0}
    for kind, more, wanted in (
        ("linear", {}, Linear(4.0)),
        ("llama3", long, Llama3(4.0, 1.0, 4.0, 256)),
        ("yarn", {"attention_factor": 1.5}, Yarn(4.0, 256, 32.0, 1.0, 1.5)),
    ):
        config, tensors = member("text")
        old = scaled | more if kind != "linear" else {"factor": 4.0}
        config["rope_theta"] = config.pop("rope_parameters")["rope_theta"]
        for key in ("type", "rope_type"):
            _, found = open_checkpoint(
                write(tmp_path / f"{kind}-{key}", config | {"rope_scaling": {key: kind} | old}, tensors)
            )
            assert found.decoder.rope.scaling == wanted
            assert found.decoder.rope.theta == 1e9


def put(section: str, **values: Any) -> Callable[[Config], None]:
    def change(config: Config) -> None:
        (config[section] if section else config).update(values)

    return change


def rope(section: str, **values: Any) -> Callable[[Config], None]:
    return lambda config: config[section]["rope_parameters"].update(values)


def left_out_window(config: Config) -> None:
    """transformers' class takes 4096 then."""
    del config["text_config"]["sliding_window"]
    config["text_config"]["max_position_embeddings"] = 8192


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put("text_config", attention_bias=True), r"text_config\.attention_bias = True"),
        (put("text_config", partial_rotary_factor=0.5), r"text_config\.partial_rotary_factor = 0\.5"),
        (put("text_config", use_qk_norm=True), r"text_config\.use_qk_norm"),
        (put("text_config", num_experts=8), r"text_config\.num_experts is not known"),
        (put("vision_config", use_register_tokens=4), r"vision_config\.use_register_tokens is not known"),
        (put("", downsample=2), "downsample is not known"),
        (put("text_config", rope_scaling={"type": "dynamic", "factor": 2.0}), "say different things"),
        (rope("text_config", rope_type="dynamic"), r"rope_type = 'dynamic'"),
        (rope("text_config", rope_type="linear", factor=0), "factor = 0 is not a number above 0"),
        (rope("text_config", short_factor=[1.0]), "short_factor is not known"),
        (rope("text_config", llama_4_scaling_beta=0.1), "belongs to the model_type ministral3"),
        (rope("vision_config", rope_type="yarn"), "supported: default, axial"),
        (put("text_config", rope_theta=5.0), r"rope_theta = 5, .*= 1e\+09: keep one"),
        (put("text_config", quantization_config={"quant_method": "bitsandbytes"}), "text_config.quantization_config"),
        (put("vision_config", quantization_config={"quant_method": "fp8"}), "vision_config.quantization_config"),
        (put("text_config", layer_types=["sliding_attention"] * 2), "layer_types"),
        (put("text_config", sliding_window=512), "sliding_window = 512"),
        (put("text_config", num_hidden_layers=1), r"layers\.1\..*says that there are 1 layers"),
        (put("text_config", num_hidden_layers="two"), "num_hidden_layers = 'two' is not a whole number"),
        (put("text_config", head_dim=64), "asks for"),
        (put("", text_config=3), "text_config is no JSON object"),
        (put("", image_token_id=11), "image_token_index is 10, image_token_id 11"),
        (put("", vision_feature_layer=7), "not one of the tower's 2 layers"),
        (left_out_window, "sliding_window = 4096"),
    ],
)
def test_keys_that_are_not_expressed_are_refused_by_name(
    change: Callable[[Config], None], message: str, tmp_path: Path
) -> None:
    config, tensors = member()
    change(config)
    with pytest.raises(Unsupported, match=message):
        open_checkpoint(write(tmp_path / "model", config, tensors))


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("language_model.model.layers.0.self_attn.q_proj.bias", (128,), r"self_attn\.q_proj\.bias"),
        ("language_model.model.layers.0.self_attn.q_norm.weight", (32,), r"q_norm\.weight"),
        ("language_model.model.layers.0.self_attn.q_proj.lora_A.weight", (8, 128), "an adapter's: merge it"),
        ("language_model.model.layers.2.mlp.up_proj.weight", (256, 128), "says that there are 2 layers"),
        ("vision_tower.transformer.layers.2.ffn_norm.weight", (64,), "says that there are 2 layers"),
        ("something.else", (3,), r"1 tensors have no place in the network: something\.else"),
        ("scalar", (), "no place in the network: scalar"),
        ("lm_head.weight", (640, 128), "the same tensor under two names"),
    ],
)
def test_tensors_without_a_place_are_refused_by_name(
    name: str, shape: tuple[int, ...], message: str, tmp_path: Path
) -> None:
    config, tensors = member()
    tensors[name] = np.ones(shape, np.float32)
    with pytest.raises(Unsupported, match=message):
        open_checkpoint(write(tmp_path / "model", config, tensors))


def test_each_shape_counts_not_the_sum(tmp_path: Path) -> None:
    config, tensors = member()
    q, k = (f"language_model.model.layers.0.self_attn.{name}_proj.weight" for name in "qk")
    tensors[q], tensors[k] = tensors[k], tensors[q]
    with pytest.raises(Unsupported, match=r"q_proj\.weight \(128, 128\), the shards hold \(64, 128\)"):
        open_checkpoint(write(tmp_path / "model", config, tensors))
    config, tensors = member()
    tensors["language_model.model.norm.weight"] = np.full((), 1, np.float32)
    with pytest.raises(Unsupported, match=r"decoder\.norm\.weight \(128,\), the shards hold \(\)"):
        open_checkpoint(write(tmp_path / "model", config, tensors))


@pytest.mark.parametrize("name", ["mistral3", "text"])
def test_a_head_that_is_promised_must_be_there(name: str, tmp_path: Path) -> None:
    config, tensors = member(name)
    del tensors["lm_head.weight" if name == "text" else "language_model.lm_head.weight"]
    with pytest.raises(MissingPart, match=r"tie_word_embeddings is false, and no shard holds lm_head\.weight"):
        open_checkpoint(write(tmp_path / "model", config, tensors))
    _, network = open_checkpoint(write(tmp_path / "tied", config | {"tie_word_embeddings": True}, tensors))
    assert network.decoder.tied_embeddings


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_a_number_that_is_none_is_refused_by_its_tensor(number: float, tmp_path: Path) -> None:
    config, tensors = member()
    name = "language_model.model.layers.1.mlp.down_proj.weight"
    tensors[name] = tensors[name].astype(np.float32)
    tensors[name][5, 7] = number
    source, _ = open_checkpoint(write(tmp_path / "model", config, tensors))
    with pytest.raises(Unsupported, match=r"model\.safetensors: \S+down_proj\.weight holds 1 numbers .* not finite"):
        list(source.rows("decoder.layers.1.mlp.down_proj.weight"))


def test_matrices_in_8_bit_floats_need_their_scales(tmp_path: Path) -> None:
    name = "language_model.model.layers.0.mlp.up_proj"
    config, tensors = member("ministral3_fp8")
    del tensors[f"{name}.weight_scale_inv"]
    with pytest.raises(MissingPart, match=r"up_proj\.weight has no scale"):
        open_checkpoint(write(tmp_path / "missing", config, tensors))
    tensors[f"{name}.weight_scale_inv"] = np.ones(7, np.float32)
    with pytest.raises(Unsupported, match=r"weight_scale_inv has the shape \(7,\)"):
        open_checkpoint(write(tmp_path / "shape", config, tensors))
    config, tensors = member("ministral3_fp8")
    del config["quantization_config"]
    with pytest.raises(Unsupported, match="no quantization_config that says how it is scaled"):
        open_checkpoint(write(tmp_path / "silent", config, tensors))


@pytest.mark.parametrize("scale", ["row", "square"])
def test_scales_of_rows_and_of_squares(scale: str, tmp_path: Path) -> None:
    config, tensors = member("ministral3_fp8")
    name, size = "language_model.model.layers.0.mlp.up_proj.weight", 48
    rows, columns = tensors[name].shape
    rng = np.random.default_rng(0)
    shape = (rows, 1) if scale == "row" else (-(-rows // size), -(-columns // size))
    factors = rng.uniform(0.5, 1, shape).astype(np.float32)
    tensors[f"{name}_scale_inv"] = factors
    config["quantization_config"]["weight_block_size"] = None if scale == "row" else [size, size]
    source, _ = open_checkpoint(write(tmp_path / "model", config, tensors))
    found = np.concatenate([*source.rows("decoder.layers.0.mlp.up_proj.weight")])
    wide = factors if scale == "row" else factors.repeat(size, 0).repeat(size, 1)[:rows, :columns]
    np.testing.assert_array_equal(found, tensors[name].astype(np.float32) * wide)


def nothing(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def pickled(folder: Path) -> None:
    nothing(folder)
    (folder / "pytorch_model.bin").write_bytes(b"x")


def pointer(folder: Path) -> None:
    (folder / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n")


def short(folder: Path) -> None:
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[:-10])


def tiny(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"abc")


def index(names: object) -> Callable[[Path], None]:
    return text("model.safetensors.index.json", json.dumps(names))


def text(name: str, content: str) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        (folder / name).write_text(content)

    return spoil


def adapter(folder: Path) -> None:
    save_file({"a": np.ones(2, np.float32)}, folder / "adapter_model.safetensors")


def integers(folder: Path) -> None:
    config, tensors = member()
    tensors["vision_tower.ln_pre.weight"] = np.ones(64, np.int32)
    write(folder, config, tensors)


def empty(folder: Path) -> None:
    config, tensors = member()
    tensors["vision_tower.ln_pre.weight"] = np.ones((0, 4), np.float32)
    write(folder, config, tensors)


def folder_for_a_shard(folder: Path) -> None:
    nothing(folder)
    (folder / "model.safetensors").mkdir()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (nothing, "neither model.safetensors nor model.safetensors.index.json"),
        (pickled, r"holds no safetensors, and pytorch_model\.bin can run code"),
        (pointer, "is a Git LFS pointer, .*git lfs pull"),
        (short, "damaged or incomplete"),
        (tiny, "damaged or incomplete"),
        (folder_for_a_shard, "cannot be read"),
        (index({"weight_map": {"a": "gone.safetensors"}}), r"shard gone\.safetensors is missing"),
        (index({"weight_map": {"a": "../model/model.safetensors"}}), "not a file of its own folder"),
        (index({"weight_map": {"a": "/etc/passwd"}}), "'/etc/passwd', which is not a file of its own folder"),
        (index({"weight_map": []}), "no `weight_map`"),
        (index([1]), "holds no JSON object, but list"),
        (text("config.json", "{"), r"config\.json is not JSON"),
        (text("config.json", "[" * 100_000), r"config\.json is not JSON"),
        (text("config.json", "[]"), "holds no JSON object"),
        (text("config.json", "\udcff".encode("utf-8", "surrogatepass").decode("latin-1")), "is not JSON"),
        (adapter, r"adapter_model\.safetensors lies beside the model .*`--adapter FOLDER`"),
        (integers, r"vision_tower\.ln_pre\.weight is I32; supported: F32, F16, BF16"),
        (empty, "is empty, of shape"),
    ],
)
def test_damaged_folders_get_one_sentence(spoil: Callable[[Path], None], message: str, tmp_path: Path) -> None:
    folder = write(tmp_path / "model", *member())
    spoil(folder)
    with pytest.raises(CheckpointError, match=message) as caught:
        open_checkpoint(folder)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_8_bit_floats_are_read_exactly(tmp_path: Path) -> None:
    """Every E4M3 number but the two that are none."""
    config, tensors = member("ministral3_fp8")
    name = "language_model.model.layers.0.self_attn.k_proj.weight"
    every = np.arange(256, dtype=np.uint8)
    every[[127, 255]] = 0
    tensors[name] = np.resize(every, tensors[name].shape).view(ml_dtypes.float8_e4m3fn)
    tensors[f"{name}_scale_inv"] = np.full((), 0.5, ml_dtypes.bfloat16)
    source, _ = open_checkpoint(write(tmp_path / "model", config, tensors))
    found = np.concatenate([*source.rows("decoder.layers.0.self_attn.k_proj.weight")])
    np.testing.assert_array_equal(found, tensors[name].astype(np.float32) / 2)
