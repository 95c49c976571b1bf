"""Mistral's own format against what transformers computes for the same weights, and what is refused of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from lineside.export.checkpoint.opening import open_checkpoint
from lineside.export.errors import CheckpointError
from lineside.export.network.rope import Yarn
from tests.golden.family import MEMBERS, write_member
from tests.support.native import native_tensors, params, write_native
from tests.support.parity import FLOAT_TOLERANCE, worst_error

NATIVE = ("mistral3", "ministral3", "ministral3_fp8", "text", "pixtral")


@pytest.mark.parametrize("name", NATIVE)
def test_float_logits_agree_with_transformers(name: str, tmp_path: Path) -> None:
    assert worst_error(write_native(name, tmp_path / name), name) < FLOAT_TOLERANCE


@pytest.mark.parametrize("name", NATIVE)
def test_both_formats_are_read_as_the_same(name: str, tmp_path: Path) -> None:
    other, network = open_checkpoint(write_member(name, tmp_path / "transformers"))
    source, found = open_checkpoint(write_native(name, tmp_path / "native"))
    assert found == network
    for tensor in other.names():
        np.testing.assert_array_equal(np.concatenate([*source.rows(tensor)]), np.concatenate([*other.rows(tensor)]))


def test_several_files_with_an_index_or_without(tmp_path: Path) -> None:
    folder = write_native("text", tmp_path / "model")
    tensors = load_file(folder / "consolidated.safetensors")
    (folder / "consolidated.safetensors").unlink()
    names = sorted(tensors)
    files = {f"consolidated-0000{i + 1}-of-00002.safetensors": names[i::2] for i in range(2)}
    for file, own in files.items():
        save_file({name: tensors[name] for name in own}, folder / file)
    open_checkpoint(folder)
    index = {"weight_map": {name: file for file, own in files.items() for name in own}}
    (folder / "consolidated.safetensors.index.json").write_text(json.dumps(index))
    open_checkpoint(folder)
    (folder / next(iter(files))).unlink()
    with pytest.raises(CheckpointError, match="shard consolidated-00001-of-00002"):
        open_checkpoint(folder)


def test_transformers_files_go_first_where_a_folder_has_both(tmp_path: Path) -> None:
    folder = write_native("text", tmp_path / "model")
    write_member("text", folder)
    source, _ = open_checkpoint(folder)
    assert '["model.safetensors"' in source.stamp()
    (folder / "config.json").unlink()
    with pytest.raises(CheckpointError, match=r"config\.json is missing"):
        open_checkpoint(folder)


def test_yarn_s_attention_factor(tmp_path: Path) -> None:
    folder = write_native("ministral3", tmp_path / "model")
    values = params(MEMBERS["ministral3"])
    values["yarn"]["apply_scale"] = True
    (folder / "params.json").write_text(json.dumps(values))
    scaling = open_checkpoint(folder)[1].decoder.rope.scaling
    assert isinstance(scaling, Yarn)
    assert scaling.attention_factor == pytest.approx(0.1 * np.log(32) + 1)


def put(**values: Any) -> Callable[[dict[str, Any]], None]:
    return lambda found: found.update(values)


def inner(section: str, **values: Any) -> Callable[[dict[str, Any]], None]:
    return lambda found: found[section].update(values)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put(moe={"num_experts": 8}), "moe is not known"),
        (put(model_type="mamba"), "model_type = 'mamba'"),
        (put(sliding_window=64), "sliding_window = 64"),
        (put(n_layers=1), "says that there are 1 layers"),
        (put(vision_encoder=None), "have no place in the network"),
        (put(tied_embeddings=False), r"tied_embeddings is false, and no shard holds output\.weight"),
        (put(quantization={"qformat_weight": "nvfp4"}), "qformat_weight = 'nvfp4'"),
        (put(dim="wide"), "dim = 'wide' is not a whole number"),
        (inner("yarn", apply_scale=None), r"yarn\.apply_scale is missing"),
        (inner("yarn", truncate=False), r"yarn\.truncate is not known"),
        (inner("vision_encoder", mm_projector_id="linear"), "mm_projector_id = 'linear'"),
        (inner("vision_encoder", add_pre_mm_projector_layer_norm=False), "add_pre_mm_projector_layer_norm = False"),
        (inner("vision_encoder", max_image_size=1540), "max_image_size is above image_size"),
    ],
)
def test_what_is_not_expressed_is_refused_by_name(
    change: Callable[[dict[str, Any]], None], message: str, tmp_path: Path
) -> None:
    folder = write_native("ministral3", tmp_path / "model")
    values = params(MEMBERS["ministral3"])
    change(values)
    (folder / "params.json").write_text(json.dumps(values))
    with pytest.raises(CheckpointError, match=message):
        open_checkpoint(folder)


def test_a_tensor_without_a_place_is_refused(tmp_path: Path) -> None:
    folder = write_native("text", tmp_path / "model")
    tensors = native_tensors(MEMBERS["text"]) | {"layers.0.attention.wq.bias": np.ones(128, np.float32)}
    save_file(tensors, folder / "consolidated.safetensors")
    with pytest.raises(CheckpointError, match=r"no place in the network: decoder\.layers\.0\.self_attn\.q_proj\.bias"):
        open_checkpoint(folder)
