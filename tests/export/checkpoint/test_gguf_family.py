"""GGUF files of the family against transformers: Ministral 3's architecture, rotary factors, and vision files."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import gguf
import numpy as np
import pytest
from gguf import GGUFWriter

from lineside.export.checkpoint.opening import open_checkpoint
from lineside.export.errors import CheckpointError
from tests.golden.family import MEMBERS
from tests.support.gguf_family import Edit, nothing, write_gguf_member
from tests.support.parity import FLOAT_TOLERANCE, worst_error

STORED = ("mistral3", "ministral3", "pixtral", "ministral3_text", "llama3_rope")


@pytest.mark.parametrize("name", STORED)
def test_float_logits_agree_with_transformers(name: str, tmp_path: Path) -> None:
    assert worst_error(write_gguf_member(name, tmp_path / name), name) < FLOAT_TOLERANCE


def test_the_vision_file_makes_the_network_the_same(tmp_path: Path) -> None:
    path = write_gguf_member("mistral3", tmp_path / "model")
    network = MEMBERS["mistral3"].network
    _, found = open_checkpoint(path)
    assert found.vision is not None
    epsilon = found.vision.projector_norm_eps  # a float32 in the file
    assert dataclasses.replace(found.vision, projector_norm_eps=round(epsilon, 9)) == network.vision
    assert found.image_token_id == network.image_token_id
    (tmp_path / "model" / "mmproj-model-f32.gguf").unlink()
    _, found = open_checkpoint(path)
    assert found.vision is None


def key(name: str, value: float) -> Edit:
    return lambda writer: writer.add_float32(name, value)


def scaling(kind: gguf.RopeScalingType) -> Edit:
    return lambda writer: writer.add_rope_scaling_type(kind)


def tensor(name: str, size: int = 32) -> Edit:
    return lambda writer: writer.add_tensor(name, np.ones(size, np.float32))


@pytest.mark.parametrize(
    ("edit", "edit_vision", "message"),
    [
        (key("llama.rope.new_trick", 1.0), nothing, r"the key llama\.rope\.new_trick is not known"),
        (scaling(gguf.RopeScalingType.LONGROPE), nothing, "= longrope is not supported; supported: none, linear, yarn"),
        (scaling(gguf.RopeScalingType.YARN), nothing, r"rope\.scaling\.factor is missing"),
        (key("llama.rope.scaling.attn_factor", 2.0), nothing, "attn_factor = 2.0"),
        (tensor("rope_freqs.weight", 5), nothing, "has 5 factors for 16 frequencies"),
        (tensor("blk.2.attn_norm.weight", 128), nothing, "says that there are 2 layers"),
        (nothing, key("clip.vision.new_trick", 1.0), r"the key clip\.vision\.new_trick is not known"),
        (nothing, tensor("v.blk.0.attn_q.bias"), r"tensor v\.blk\.0\.attn_q\.bias belongs to a network"),
        (nothing, tensor("v.blk.2.ln1.weight", 64), "says that there are 2 layers"),
        (nothing, lambda writer: writer.add_vision_use_gelu(value=True), "or both"),
    ],
)
def test_what_is_not_expressed_is_refused_by_name(edit: Edit, edit_vision: Edit, message: str, tmp_path: Path) -> None:
    path = write_gguf_member("mistral3", tmp_path / "model", edit, edit_vision)
    with pytest.raises(CheckpointError, match=message):
        open_checkpoint(path)


def test_another_model_s_vision_file_is_refused(tmp_path: Path) -> None:
    path = write_gguf_member("mistral3", tmp_path / "model")
    vision = path.with_name("mmproj-model-f32.gguf")
    with pytest.raises(CheckpointError, match="is a vision file: give the language model"):
        open_checkpoint(vision)
    writer = GGUFWriter(vision, "clip")
    writer.add_clip_projector_type("pixtral")
    writer.add_vision_projection_dim(5120)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(CheckpointError, match="is another model's: its projector gives 5120 values"):
        open_checkpoint(path)
    shutil.copyfile(vision, path.with_name("mmproj-model-f16.gguf"))
    with pytest.raises(CheckpointError, match="has several vision files"):
        open_checkpoint(path)


def test_damaged_files_get_one_sentence(tmp_path: Path) -> None:
    for number, content in enumerate((b"", b"GG", b"GGUF", b"GGUF\x03\0\0\0" + b"\xff" * 40, b"PK\x03\x04")):
        path = tmp_path / f"{number}.gguf"
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=r"is not a GGUF file|is damaged or cut off") as caught:
            open_checkpoint(path)
        assert "\n" not in str(caught.value)
    path = tmp_path / "pointer.gguf"
    path.write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(CheckpointError, match="is a Git LFS pointer"):
        open_checkpoint(path)


def test_a_number_that_is_none_is_refused_by_its_tensor(tmp_path: Path) -> None:
    path = write_gguf_member("llama3_rope", tmp_path / "model")
    raw = bytearray(path.read_bytes())
    raw[-8:-4] = np.float32(np.nan).tobytes()
    path.write_bytes(raw)
    source, _ = open_checkpoint(path)
    with pytest.raises(CheckpointError, match=r"model\.gguf: \S+ holds 1 numbers that are not finite"):
        [list(source.rows(name)) for name in source.names()]
