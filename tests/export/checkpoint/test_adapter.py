"""LoRA adapters as peft saves them, merged while the checkpoint is read."""

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
from tests.golden.family import LORA, write_adapter, write_member
from tests.support.gguf_files import write_gguf
from tests.support.native import write_native
from tests.support.parity import FLOAT_TOLERANCE, member_folder, worst_error

NAME = "mistral3_lora"


@pytest.mark.parametrize("write", [member_folder, write_native])
def test_float_logits_agree_with_peft(write: Callable[[str, Path], Path], tmp_path: Path) -> None:
    """On top of both formats, whose rows of Q and K lie in different orders."""
    adapter = write_adapter(NAME, tmp_path / "adapter")
    assert worst_error(write("mistral3", tmp_path / "model"), NAME, adapter=adapter) < FLOAT_TOLERANCE


def test_only_some_rows_are_merged_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, adapter = write_member("mistral3", tmp_path / "model"), write_adapter(NAME, tmp_path / "adapter")
    whole, _ = open_checkpoint(model, adapter)
    names = ("decoder.layers.0.self_attn.q_proj.weight", "decoder.layers.1.mlp.down_proj.weight")
    before = {name: np.concatenate([*whole.rows(name)]) for name in names}
    monkeypatch.setattr("lineside.export.checkpoint.tensors.ROW_CHUNK_ELEMENTS", 700)
    for name in names:
        parts = [*whole.rows(name)]
        assert len(parts) > 10
        np.testing.assert_allclose(np.concatenate(parts), before[name], atol=1e-6)


def test_another_adapter_is_another_source(tmp_path: Path) -> None:
    model, adapter = write_member("mistral3", tmp_path / "model"), write_adapter(NAME, tmp_path / "adapter")
    stamps = {open_checkpoint(model)[0].stamp(), open_checkpoint(model, adapter)[0].stamp()}
    (adapter / "adapter_config.json").write_text(json.dumps(LORA | {"lora_alpha": 16}))
    assert len(stamps | {open_checkpoint(model, adapter)[0].stamp()}) == 3


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"peft_type": "IA3"}, "peft_type = 'IA3'"),
        ({"use_dora": True}, "use_dora = True"),
        ({"bias": "all"}, "bias = 'all'"),
        ({"fan_in_fan_out": True}, "fan_in_fan_out"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save is not supported: merge the adapter with peft"),
        ({"alpha_pattern": {"q_proj": 2}}, "alpha_pattern"),
        ({"layer_replication": [[0, 2]]}, "layer_replication"),
        ({"init_lora_weights": "pissa"}, "init_lora_weights changed the base model"),
        ({"use_new_trick": True}, "use_new_trick is not known"),
    ],
)
def test_other_kinds_are_refused_by_name(values: dict[str, Any], message: str, tmp_path: Path) -> None:
    model, adapter = write_member("mistral3", tmp_path / "model"), write_adapter(NAME, tmp_path / "adapter")
    (adapter / "adapter_config.json").write_text(json.dumps(LORA | values))
    with pytest.raises(CheckpointError, match=message):
        open_checkpoint(model, adapter)


def change(adapter: Path, name: str, array: Any) -> None:
    path = adapter / "adapter_model.safetensors"
    tensors = load_file(path)
    path.unlink()
    save_file({key: value for key, value in {**tensors, name: array}.items() if value is not None}, path)


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("base_model.model.lm_head.weight", np.ones((4, 4), np.float32), "is no lora_A or lora_B of a matrix"),
        ("base_model.model.model.vision_tower.x.lora_A.weight", np.ones((4, 4), np.float32), "only one of lora_A and"),
        ("base_model.model.model.language_model.layers.0.self_attn.q_proj.lora_A.weight", None, "has only one of"),
        (
            "base_model.model.model.language_model.layers.0.self_attn.q_proj.lora_A.weight",
            np.ones((2, 64), np.float32),
            r"do not fit decoder\.layers\.0\.self_attn\.q_proj\.weight \(128, 128\)",
        ),
    ],
)
def test_tensors_that_do_not_fit_are_refused_by_name(name: str, array: Any, message: str, tmp_path: Path) -> None:
    model, adapter = write_member("mistral3", tmp_path / "model"), write_adapter(NAME, tmp_path / "adapter")
    change(adapter, name, array)
    with pytest.raises(CheckpointError, match=message):
        open_checkpoint(model, adapter)


def test_what_has_no_such_matrix_is_another_model_s(tmp_path: Path) -> None:
    model, adapter = write_member("text", tmp_path / "model"), write_adapter(NAME, tmp_path / "adapter")
    with pytest.raises(CheckpointError, match="which the checkpoint has not: it is another model's"):
        open_checkpoint(model, adapter)
    with pytest.raises(CheckpointError, match="is an adapter: export the model that it belongs to, with `--adapter"):
        open_checkpoint(adapter)
    with pytest.raises(CheckpointError, match=r"adapter_config\.json is missing"):
        open_checkpoint(model, tmp_path)
    with pytest.raises(CheckpointError, match="is rounded already: merge"):
        open_checkpoint(write_gguf(tmp_path / "gguf", {}).path, adapter)
