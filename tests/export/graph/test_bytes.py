"""What the weights take on disk, and that nothing is lost for it: float16 scales, table and head of four bits."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from lineside.edge.command_line.main import main
from lineside.export.bundle.options import ExportOptions
from lineside.export.bundle.plan import PRECISIONS, Precisions
from lineside.export.bundle.writer import export_bundle
from lineside.export.check import float64
from lineside.export.checkpoint.ggml import GGML_FORMATS
from lineside.export.checkpoint.opening import open_checkpoint
from lineside.export.errors import Unsupported
from lineside.export.exported import Exported
from lineside.export.graph.standard_graphs import decoder_graph, save_graph
from lineside.export.graph.weights import WeightPlan, fill
from lineside.export.quantize.blocks import quantize_int4, quantize_int8
from lineside.runtime.bundle import Bundle, open_bundle
from lineside.runtime.defaults import DEFAULT_BUNDLE
from lineside.runtime.engine.memory_plan import bulk, stored_bytes
from lineside.runtime.sessions.ort import CPU, OrtDecoder, session_options
from lineside.runtime.sessions.selftest import relative_error
from tests.export.graph.test_standard import StandardDecoder
from tests.support.checkpoints import copy_checkpoint
from tests.support.gguf_files import write_gguf

EXACT = replace(PRECISIONS["int4"], accuracy_level=0)
FOUR_BITS = {
    "untied": ("grouped", replace(EXACT, embedding="int4", head="int4")),
    "table": ("grouped", replace(EXACT, embedding="int4", head="int8")),
    "head": ("grouped", replace(EXACT, embedding="int8", head="int4")),
    "tied": ("tied", replace(EXACT, embedding="int4")),
}
IDS = np.asarray([5, 99, 300, 7, 612, 613, 42, 8, 99, 300, 401])


def exported(name: str, folder: Path, precisions: Precisions) -> Bundle:
    checkpoint = copy_checkpoint(name, folder)
    return open_bundle(export_bundle(checkpoint, folder / "bundle", ExportOptions(precisions)))


@pytest.mark.parametrize("quantize", [quantize_int4, quantize_int8])
@pytest.mark.parametrize("size", [1e-9, 1e-6, 1e-3, 1.0, 1e4, 1e7])
def test_scales_are_numbers_of_float16(quantize: object, size: float) -> None:
    """Of the smallest weights and the largest, too: never zero, never infinite."""
    weight = (np.random.default_rng(0).standard_t(4, size=(5, 96)) * size).astype(np.float32)
    integers, scales = quantize(weight)  # type: ignore[operator]
    half = scales.astype(np.float16)
    np.testing.assert_array_equal(half, scales)
    assert (half > 0).all()
    assert np.isfinite(half).all()
    blocks, stored = weight.reshape(5, 3, 32), scales[..., None]
    lowest = -8 if quantize is quantize_int4 else -127
    nearest = np.clip(np.rint(blocks / stored), lowest, -lowest - (lowest == -8))
    energy = np.abs(integers).reshape(5, 3, 32).sum(-1) > 0
    np.testing.assert_array_equal(integers.reshape(5, 3, 32)[energy], nearest[energy])


@pytest.mark.parametrize("kind", GGML_FORMATS)
def test_scales_that_came_are_stored_as_they_came(kind: str, tmp_path: Path) -> None:
    """As float16 where they are float16 in the file, as float32 where float16 could not hold them."""
    checkpoint, _ = open_checkpoint(write_gguf(tmp_path, {"ffn_down": kind}).path)
    source = "decoder.layers.0.mlp.down_proj.weight"
    block, file, plan = checkpoint.block_format(source), io.BytesIO(), WeightPlan("w")
    assert block is not None
    rows, columns = checkpoint.shape(source)
    weight = plan.carried("w", (source,), rows, columns, block)
    fill(weight, checkpoint, file)
    slot = weight.slots[1]
    assert slot.dtype == ("float32" if kind.endswith("K") else "float16")
    stored = np.frombuffer(file.getvalue(), slot.dtype, int(np.prod(slot.shape)), slot.offset).reshape(slot.shape)
    (blocks,) = checkpoint.blocks(source)
    np.testing.assert_array_equal(stored.astype(np.float32), blocks.scales)


@pytest.mark.parametrize("graph", ["decoder.onnx", "vision.onnx"])
def test_no_scale_is_cast_while_the_model_runs(graph: str, tmp_path: Path) -> None:
    """ONNX Runtime does it once when it loads: what it runs gets its scales as constants, which it packs."""
    bundle = exported("grouped", tmp_path, PRECISIONS["int4"])
    written = onnx.load(bundle.file(graph), load_external_data=False).graph
    scales = {node.output[0] for node in written.node if node.op_type == "Cast" and node.input[0].endswith(".scales")}
    assert scales
    options = session_options(1)
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    ort.InferenceSession(str(bundle.file(graph)), options, providers=[CPU])
    run = onnx.load(tmp_path / "optimized.onnx", load_external_data=False).graph
    constants = {tensor.name: tensor.data_type for tensor in run.initializer}
    assert not any(node.input[0].endswith(".scales") for node in run.node if node.op_type == "Cast")
    users = [node for node in run.node if node.op_type in ("MatMulNBits", "GatherBlockQuantized")]
    assert users
    assert {constants[node.input[2]] for node in users} == {onnx.TensorProto.FLOAT}


def test_on_a_gpu_scales_are_used_as_they_are_stored(tmp_path: Path) -> None:
    bundle = exported("grouped", tmp_path, EXACT)
    graph = onnx.load(bundle.file("decoder.float16.onnx"), load_external_data=False).graph
    tensors = {tensor.name: tensor.data_type for tensor in graph.initializer}
    users = [node for node in graph.node if node.op_type in ("MatMulNBits", "GatherBlockQuantized")]
    assert {tensors[node.input[2]] for node in users} == {onnx.TensorProto.FLOAT16}


def test_a_bundle_with_float32_scales_is_still_read() -> None:
    """The embedded one has them."""
    opened = Exported(open_bundle(DEFAULT_BUNDLE))
    name = "decoder.layers.0.mlp.down"
    assert opened.decoder.array(f"{name}.scales").dtype == np.float32
    manifest = opened.bundle.manifest
    assert {way.scales for ways in manifest.quantizer.values() for way in ways} == {None}
    assert np.isfinite(opened.decoder.rounded(name, manifest.intermediate_size).floats()).all()
    assert bulk(manifest, "decoder").bits == 4
    assert stored_bytes(bulk(manifest, "decoder")) == 0.625


@pytest.mark.parametrize("case", FOUR_BITS)
def test_table_and_head_of_four_bits_compute_what_they_mean(case: str, tmp_path: Path) -> None:
    """In both dialects and in float16, against float64."""
    name, precisions = FOUR_BITS[case]
    bundle = exported(name, tmp_path, precisions)
    opened, manifest = Exported(bundle), bundle.manifest
    nodes = onnx.load(bundle.file("decoder.onnx"), load_external_data=False).graph.node
    kinds = ("GatherBlockQuantized", "MatMulNBits")
    bits = {node.op_type: {a.name: a.i for a in node.attribute}["bits"] for node in nodes if node.op_type in kinds}
    assert bits == {kinds[0]: 8 if case == "head" else 4, kinds[1]: 8 if case == "table" else 4}  # the head comes last
    wanted = float64.logits(opened, IDS).astype(np.float32)
    cpu = OrtDecoder(bundle, 1)
    assert relative_error(cpu.decode(cpu.allocate(64), IDS.tolist(), 0), wanted) < 1e-5
    half = OrtDecoder(bundle, 1, graph="decoder.float16.onnx", kv_dtype="float16")
    assert relative_error(half.decode(half.allocate(64), IDS.tolist(), 0), wanted) < 0.01
    standard = StandardDecoder(save_graph(decoder_graph(opened, 64), tmp_path), manifest, 64)
    assert relative_error(standard.run(IDS.tolist(), 0), wanted) < 1e-4
    dequantized = sum(node.op_type == "DequantizeLinear" for node in onnx.load(tmp_path / "decoder.onnx").graph.node)
    layers = 4 * manifest.kv.num_hidden_layers
    assert dequantized == layers + (case != "table")


def test_one_that_is_both_has_one_format(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint = copy_checkpoint("tied", tmp_path)
    with pytest.raises(Unsupported, match="give one of them, or both alike"):
        export_bundle(checkpoint, tmp_path / "b", ExportOptions(Precisions(embedding="int4", head="int8")))
    assert main(["export", str(checkpoint), str(tmp_path / "b"), "--head", "int4"]) == 0
    assert main(["plan", str(tmp_path / "b"), "--head", "int4", "--device", "thor"]) == 2
    assert "not exported yet" in capsys.readouterr().err
    manifest = open_bundle(tmp_path / "b").manifest
    assert manifest.quantization["embedding"] == "int4"
    assert "head" not in manifest.quantization
