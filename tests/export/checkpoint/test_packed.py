"""GPTQ, AWQ and compressed-tensors: integers, scales and zero points are carried over as they are."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from safetensors.numpy import load_file, save_file

from lineside.export.bundle.options import ExportOptions
from lineside.export.bundle.plan import PRECISIONS
from lineside.export.bundle.writer import export_bundle
from lineside.export.check.float64 import logits as float64_logits
from lineside.export.checkpoint.opening import open_checkpoint
from lineside.export.errors import CheckpointError
from lineside.export.exported import Exported
from lineside.export.graph.standard_graphs import decoder_graph, save_graph
from lineside.runtime.bundle import open_bundle
from lineside.runtime.chat import Prompt
from lineside.runtime.engine.engine import Engine
from lineside.runtime.manifest import Quantizer
from lineside.runtime.sessions.selftest import relative_error
from tests.export.graph.test_standard import StandardDecoder
from tests.support.packed import write_packed

EXACT = ExportOptions(dataclasses.replace(PRECISIONS["int4"], accuracy_level=0, embedding="float32", head="float32"))
FLOATS = ExportOptions(PRECISIONS["float32"])
IDS = np.asarray([5, 99, 300, 7, 612, 613, 42, 8, 99, 300, 401])
MATRIX = "decoder.layers.0.mlp.down_proj.weight"
LAYOUTS = ("gptq", "gptq_v2", "awq", "compressed")


def logits(bundle: Path) -> npt.NDArray[np.float32]:
    with Engine.open(bundle, threads=1).sequence(Prompt(IDS), reserve=0) as sequence:
        return sequence.logits.copy()


def floats_of(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}-floats")


@pytest.mark.parametrize(
    ("layout", "group", "symmetric"),
    [("gptq", 32, True), ("gptq", 128, False), ("gptq_v2", 64, False), ("awq", 32, False), ("awq", 128, False),
     ("compressed", 64, True), ("compressed", 128, False)],
)  # fmt: skip
def test_a_bundle_computes_what_the_file_means(layout: str, group: int, symmetric: bool, tmp_path: Path) -> None:
    folder = write_packed(tmp_path / "model", layout, group, symmetric=symmetric)
    expected = logits(export_bundle(floats_of(folder), tmp_path / "floats", FLOATS))
    bundle = export_bundle(folder, tmp_path / "carried", EXACT)
    assert relative_error(logits(bundle), expected) < 1e-4
    exported = Exported(open_bundle(bundle))
    quantizer = exported.bundle.manifest.quantizer["decoder"]
    assert quantizer == (Quantizer("carried-over", 4, group, symmetric=symmetric, scales="float16"),)


def test_zero_points_mean_the_same_in_every_operator_set(tmp_path: Path) -> None:
    folder = write_packed(tmp_path / "model", "awq", 64)
    expected = logits(export_bundle(floats_of(folder), tmp_path / "floats", FLOATS))
    exported = Exported(open_bundle(export_bundle(folder, tmp_path / "carried", EXACT)))
    assert relative_error(float64_logits(exported, IDS)[-1].astype(np.float32), expected) < 1e-4
    standard = StandardDecoder(save_graph(decoder_graph(exported, 64), tmp_path), exported.bundle.manifest, 64)
    assert relative_error(standard.run(IDS.tolist(), 0)[-1], expected) < 1e-4


@pytest.mark.parametrize("layout", LAYOUTS)
def test_rows_are_read_a_few_at_a_time(layout: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_packed(tmp_path / "model", layout, 64)
    whole = load_file(floats_of(folder) / "model.safetensors")["model.layers.0.mlp.down_proj.weight"]
    monkeypatch.setattr("lineside.export.checkpoint.tensors.ROW_CHUNK_ELEMENTS", 900)
    source, _ = open_checkpoint(folder)
    np.testing.assert_allclose(np.concatenate([*source.rows(MATRIX)]), whole, rtol=1e-6)
    blocks = [*source.blocks(MATRIX)]
    assert len(blocks) > 10
    assert all(part.zeros is not None for part in blocks)


@pytest.mark.parametrize("layout", ["gptq", "compressed"])
def test_eight_bits(layout: str, tmp_path: Path) -> None:
    folder = write_packed(tmp_path / "model", layout, 32, bits=8)
    expected = logits(export_bundle(floats_of(folder), tmp_path / "floats", FLOATS))
    assert relative_error(logits(export_bundle(folder, tmp_path / "carried", EXACT)), expected) < 1e-4


def test_a_scale_for_a_whole_row_is_repeated(tmp_path: Path) -> None:
    """Of 256 columns: no operator holds such a block, two of 128 with the same scale mean the same."""
    folder = write_packed(tmp_path / "model", "compressed", 128, symmetric=True)
    path = folder / "model.safetensors"
    tensors = {name: np.array(array) for name, array in load_file(path).items()}
    name = "model.layers.0.mlp.down_proj.weight_scale"
    tensors[name] = np.ascontiguousarray(tensors[name][:, :1])
    path.unlink()
    save_file(tensors, path)
    source, _ = open_checkpoint(folder)
    blocks = next(iter(source.blocks(MATRIX)))
    assert blocks.scales.shape == (128, 2)
    np.testing.assert_array_equal(blocks.scales[:, 0], blocks.scales[:, 1])


def put(**values: Any) -> Callable[[dict[str, Any], dict[str, Any]], None]:
    return lambda config, _: config["quantization_config"].update(values)


def tensor(name: str, change: Callable[[Any], Any]) -> Callable[[dict[str, Any], dict[str, Any]], None]:
    def spoil(_: dict[str, Any], tensors: dict[str, Any]) -> None:
        changed = change(tensors.pop(f"model.layers.0.mlp.down_proj.{name}"))
        if changed is not None:
            tensors[f"model.layers.0.mlp.down_proj.{name}"] = np.ascontiguousarray(changed)

    return spoil


@pytest.mark.parametrize(
    ("layout", "change", "message"),
    [
        ("gptq", put(bits=3), "bits = 3 is not supported; supported: 4, 8"),
        ("gptq", put(checkpoint_format="marlin"), "checkpoint_format = 'marlin'"),
        ("gptq", put(dynamic={"-:x": {}}), "dynamic is not supported"),
        ("gptq", put(codebook="e8"), "codebook is not known"),
        ("gptq", tensor("g_idx", lambda g: g[::-1]), "activation order"),
        ("gptq", tensor("scales", lambda _: None), "has no scales"),
        ("gptq", tensor("scales", lambda s: s[:, :8]), "does not fit"),
        ("gptq", tensor("qzeros", lambda z: z[:1]), "does not fit"),
        ("awq", put(version="gemv"), "version = 'gemv'"),
        ("awq", put(quant_method="aqlm"), "supported: fp8, gptq, awq, compressed-tensors"),
        ("compressed", put(format="nvfp4-pack-quantized"), "format = 'nvfp4-pack-quantized'"),
        ("compressed", put(kv_cache_scheme={"num_bits": 8}), "kv_cache_scheme is not supported"),
        ("compressed", tensor("weight_shape", lambda s: s[::-1]), r"weight_shape says \[256, 128\]"),
        ("compressed", lambda config, _: config.pop("quantization_config"), "is I(32|64); supported"),
    ],
)
def test_what_cannot_be_carried_over_is_refused_by_name(
    layout: str, change: Callable[[dict[str, Any], dict[str, Any]], None], message: str, tmp_path: Path
) -> None:
    folder = write_packed(tmp_path / "model", layout, 64)
    path = folder / "model.safetensors"
    config, tensors = json.loads((folder / "config.json").read_text()), dict(load_file(path))
    change(config, tensors)
    (folder / "config.json").write_text(json.dumps(config))
    path.unlink()
    save_file(tensors, path)
    with pytest.raises(CheckpointError, match=message):
        open_checkpoint(folder)


def test_a_zero_point_that_readers_disagree_on_is_refused(tmp_path: Path) -> None:
    folder = write_packed(tmp_path / "model", "gptq", 64)
    path = folder / "model.safetensors"
    tensors = {name: np.array(array) for name, array in load_file(path).items()}
    tensors["model.layers.0.mlp.down_proj.qzeros"] |= 15
    path.unlink()
    save_file(tensors, path)
    with pytest.raises(CheckpointError, match="qzeros holds a zero point that readers of GPTQ take for 0 or for 16"):
        list(open_checkpoint(folder)[0].blocks(MATRIX))
    tensors["model.layers.0.mlp.down_proj.bias"] = np.zeros(128, np.float16)
    save_file(tensors, path)
    open_checkpoint(folder)  # a bias of nothing
    tensors["model.layers.0.mlp.down_proj.bias"] += 1
    save_file(tensors, path)
    with pytest.raises(CheckpointError, match=r"down_proj\.bias"):
        open_checkpoint(folder)
