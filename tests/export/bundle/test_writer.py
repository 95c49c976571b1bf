"""`lineside export` on real folders: what it refuses, and that it goes on where it was broken off."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import numpy_helper
from safetensors.numpy import load_file, save_file

import lineside.export.bundle.filling as filling
import lineside.export.bundle.writer as bundle_writer
from lineside.export.bundle.options import ExportOptions
from lineside.export.bundle.plan import PRECISIONS
from lineside.export.bundle.writer import export_bundle
from lineside.export.check.synthetic import MISTRAL_SMALL, RandomSource
from lineside.export.checkpoint.source import BlockFormat
from lineside.export.command import export_command
from lineside.export.errors import DiskTooSmall, MissingPart, TargetExists, Unsupported
from lineside.export.graph.weights import Weight, fill
from lineside.runtime.bundle import open_bundle, verify_hashes
from lineside.runtime.chat import Prompt
from lineside.runtime.engine.engine import Engine
from lineside.runtime.engine.sampling import Sampling
from lineside.runtime.sessions.ort import OrtDecoder
from lineside.runtime.sessions.selftest import relative_error, self_test
from tests.golden.prompts import PROMPTS, prompts
from tests.support.checkpoints import CASES, copy_checkpoint
from tests.support.dequantized import write_dequantized
from tests.support.tokenizers import write_small_tokenizer

NEAREST = dataclasses.replace(PRECISIONS["int4"], method="nearest")
EXACT = dataclasses.replace(NEAREST, accuracy_level=0)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return copy_checkpoint("grouped", tmp_path)


def edit_config(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    path = folder / "config.json"
    config = json.loads(path.read_text())
    change(config)
    path.write_text(json.dumps(config))


def last_logits(engine: Engine, prompt: Prompt) -> npt.NDArray[np.float32]:
    with engine.sequence(prompt, reserve=0) as sequence:
        return sequence.logits.copy()


@pytest.mark.parametrize("case", CASES)
def test_int4_computes_what_its_integers_stand_for(case: str, tmp_path: Path) -> None:
    """Against the same graph in float32 with dequantized weights. With exact activations the difference is rounding
    noise; with the 8-bit activations that a CPU is fast with, these hostile random networks drift by 2 %."""
    source = copy_checkpoint(case, tmp_path)
    reference = Engine.open(
        export_bundle(
            write_dequantized(source, tmp_path / "dequantized"), tmp_path / "f", ExportOptions(PRECISIONS["float32"])
        )
    )
    exact = Engine.open(export_bundle(source, tmp_path / "exact", ExportOptions(EXACT)))
    fast = Engine.open(export_bundle(source, tmp_path / "fast", ExportOptions(NEAREST)))
    for name in PROMPTS:
        prompt = prompts(reference.tokenizer)[name]
        expected = last_logits(reference, prompt)
        assert relative_error(last_logits(exact, prompt), expected) < 1e-4
        assert relative_error(last_logits(fast, prompt), expected) < 0.06


def test_a_bundle_describes_itself(checkpoint: Path, tmp_path: Path) -> None:
    bundle = open_bundle(export_bundle(checkpoint, tmp_path / "bundle"))
    verify_hashes(bundle)
    self_test(bundle)
    manifest = bundle.manifest
    assert manifest.kv.bytes_per_token == 2 * 2 * 2 * 16 * 4
    assert manifest.tokenizer_version == "v13"
    assert not list(tmp_path.glob("*.partial"))
    for name in ("decoder", "vision"):
        graph = onnx.load(bundle.file(f"{name}.onnx"), load_external_data=False).graph
        offsets = {int(e.value) for t in graph.initializer for e in t.external_data if e.key == "offset"}
        assert len(offsets) > 10
        assert all(offset % 4096 == 0 for offset in offsets)


@pytest.mark.parametrize("precision", ["int4", "float32"])
def test_graphs_hold_no_scale_that_tensorrt_would_misread(checkpoint: Path, tmp_path: Path, precision: str) -> None:
    """Zero or negative scales are accepted by TensorRT and compute nonsense."""
    path = export_bundle(checkpoint, tmp_path / "bundle", ExportOptions(PRECISIONS[precision]))
    scales = [t for t in onnx.load(path / "decoder.onnx").graph.initializer if t.name.endswith(".scales")]
    assert bool(scales) == (precision == "int4")
    assert all((numpy_helper.to_array(tensor) > 0).all() for tensor in scales)


def test_missing_shard(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (checkpoint / "model-00002-of-00005.safetensors").unlink()
    with pytest.raises(MissingPart, match=r"model-00002-of-00005\.safetensors is missing"):
        export_bundle(checkpoint, tmp_path / "bundle")
    assert export_command(checkpoint, tmp_path / "bundle", None, {}) == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert not list(tmp_path.glob("bundle*"))


def test_truncated_shard(checkpoint: Path, tmp_path: Path) -> None:
    shard = checkpoint / "model-00003-of-00005.safetensors"
    shard.write_bytes(shard.read_bytes()[:-100])
    with pytest.raises(MissingPart, match="damaged or incomplete"):
        export_bundle(checkpoint, tmp_path / "bundle")


def test_missing_tensor(tmp_path: Path) -> None:
    checkpoint = copy_checkpoint("tied", tmp_path)
    shard = checkpoint / "model.safetensors"
    tensors = load_file(shard)
    name = next(key for key in tensors if key.endswith("layers.1.mlp.up_proj.weight"))
    del tensors[name]
    save_file(tensors, shard)
    with pytest.raises(MissingPart, match=r"decoder\.layers\.1\.mlp\.up_proj\.weight"):
        export_bundle(checkpoint, tmp_path / "bundle")


def test_wrong_shape(checkpoint: Path, tmp_path: Path) -> None:
    edit_config(checkpoint, lambda config: config["text_config"].update(intermediate_size=128))
    with pytest.raises(Unsupported, match=r"config\.json asks for"):
        export_bundle(checkpoint, tmp_path / "bundle")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.update(architectures=["LlamaForCausalLM"]), "LlamaForCausalLM is not supported"),
        (lambda c: c["text_config"].update(sliding_window=512), "sliding_window"),
        (lambda c: c["text_config"]["rope_parameters"].update(rope_type="longrope"), "rope_type"),
        (lambda c: c["vision_config"].update(hidden_act="relu"), "hidden_act"),
        (lambda c: c.update(quantization_config={"quant_method": "bitsandbytes"}), "quantized already"),
        (lambda c: c.update(vision_feature_layer=[-1, -2]), "vision_feature_layer"),
        (lambda c: c["vision_config"].update(image_size=112), "larger pictures than the tower"),
    ],
)
def test_what_the_graphs_do_not_express_is_refused(
    checkpoint: Path,
    tmp_path: Path,
    change: Callable[[dict[str, Any]], None],
    message: str,
) -> None:
    edit_config(checkpoint, change)
    with pytest.raises(Unsupported, match=message):
        export_bundle(checkpoint, tmp_path / "bundle")
    assert not list(tmp_path.glob("bundle*"))


def test_the_tokenizer_must_fit_the_vocabulary(checkpoint: Path, tmp_path: Path) -> None:
    """A padded vocabulary is fine, and its padding is never generated; a larger tokenizer is another model's."""
    write_small_tokenizer(checkpoint / "tekken.json", vocab_size=600)
    engine = Engine.open(export_bundle(checkpoint, tmp_path / "bundle"), threads=1)
    with engine.sequence(prompts(engine.tokenizer)["text"], reserve=40) as sequence:
        generation = engine.generate(sequence, max_tokens=40, sampling=Sampling(50.0))
    assert max(generation.ids) < 600
    write_small_tokenizer(checkpoint / "tekken.json", vocab_size=700)
    with pytest.raises(Unsupported, match="belongs to another checkpoint"):
        export_bundle(checkpoint, tmp_path / "other")


def test_missing_files(checkpoint: Path, tmp_path: Path) -> None:
    (checkpoint / "tekken.json").unlink()
    with pytest.raises(MissingPart, match=r"tekken\.json"):
        export_bundle(checkpoint, tmp_path / "bundle")
    (checkpoint / "config.json").unlink()
    with pytest.raises(MissingPart):
        export_bundle(checkpoint, tmp_path / "bundle")
    with pytest.raises(MissingPart, match="is it a checkpoint folder"):
        export_bundle(tmp_path / "nothing", tmp_path / "bundle")


def test_an_existing_bundle_is_not_touched(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "bundle").mkdir()
    with pytest.raises(TargetExists):
        export_bundle(checkpoint, tmp_path / "bundle")


def test_disk_too_small_is_found_before_the_work(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lineside.export.bundle.checks.SPARE_BYTES", 10**18)
    with pytest.raises(DiskTooSmall, match="GB free, the bundle needs"):
        export_bundle(checkpoint, tmp_path / "bundle")
    assert not (tmp_path / "bundle.partial" / "decoder.data").exists()


def test_a_broken_off_export_goes_on(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = export_bundle(checkpoint, tmp_path / "whole")
    seen: list[str] = []

    def interrupt(name: str, _done: int, _total: int) -> None:
        seen.append(name)
        if len(seen) == 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export_bundle(checkpoint, tmp_path / "resumed", progress=interrupt)
    journal = tmp_path / "resumed.partial" / "journal.jsonl"
    assert len(journal.read_text().splitlines()) == 21
    with journal.open("a") as file:
        file.write('{"weight": "vision/cut o')  # as a crash leaves it
    filled: list[str] = []

    def record(weight: Weight, *how: Any) -> str:
        filled.append(weight.name)
        return fill(weight, *how)

    monkeypatch.setattr(filling, "fill", record)
    resumed = export_bundle(checkpoint, tmp_path / "resumed")
    for name in ("decoder.data", "vision.data", "decoder.onnx", "vision.onnx"):
        assert (resumed / name).read_bytes() == (whole / name).read_bytes()
    assert open_bundle(resumed).manifest.source_sha256 == open_bundle(whole).manifest.source_sha256
    assert seen[19] not in filled
    assert not set(seen) & set(filled)


def test_another_source_starts_afresh(checkpoint: Path, tmp_path: Path) -> None:
    def interrupt(_name: str, _done: int, _total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export_bundle(checkpoint, tmp_path / "bundle", progress=interrupt)
    shard = checkpoint / "model-00001-of-00005.safetensors"
    tensors = {name: np.asarray(array, np.float32) * 2 for name, array in load_file(shard).items()}
    save_file(tensors, shard)
    resumed = export_bundle(checkpoint, tmp_path / "bundle")
    fresh = export_bundle(checkpoint, tmp_path / "fresh")
    for name in ("decoder.data", "vision.data"):
        assert (resumed / name).read_bytes() == (fresh / name).read_bytes()


def test_no_tensor_is_ever_whole_in_memory(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a chunk of a thousand elements, no slice of more rows than that is read, and the result is the same."""
    whole = export_bundle(checkpoint, tmp_path / "whole")
    monkeypatch.setattr("lineside.export.checkpoint.tensors.ROW_CHUNK_ELEMENTS", 1000)
    monkeypatch.setattr("lineside.export.checkpoint.tensors.Checkpoint.read", None)
    sliced = export_bundle(checkpoint, tmp_path / "sliced")
    for name in ("decoder.data", "vision.data"):
        assert (sliced / name).read_bytes() == (whole / name).read_bytes()


@dataclasses.dataclass(frozen=True)
class RoundedTables(RandomSource):
    """A checkpoint whose embedding table comes with `bits` bits."""

    bits: int = 8

    def block_format(self, name: str) -> BlockFormat | None:
        block = super().block_format(name)
        return block if block is None or "embed_tokens" not in name else dataclasses.replace(block, bits=self.bits)


@pytest.mark.parametrize("bits", [4, 8])
def test_graphs_for_cuda_leave_no_zero_point_to_the_kernel(tmp_path: Path, bits: int) -> None:
    """Where none is given, some kernels for CUDA take 0 rather than the middle of the range. One that is wrong shows on
    a CPU, too; nine blocks a row do not fill their bytes."""
    decoder = dataclasses.replace(
        MISTRAL_SMALL.decoder, hidden_size=288, intermediate_size=512, num_attention_heads=4, num_key_value_heads=2,
        head_dim=64, context_length=1024, num_hidden_layers=1, vocab_size=640,
    )  # fmt: skip
    network = dataclasses.replace(MISTRAL_SMALL, decoder=decoder, vision=None)
    write_small_tokenizer(tmp_path / "tekken.json", vocab_size=640)
    source, path = RoundedTables(network, bits), tmp_path / "bundle"
    bundle_writer.write_bundle(source, network, tmp_path / "tekken.json", "tables", path, ExportOptions(EXACT))
    bundle = open_bundle(path)
    half = OrtDecoder(bundle, 1, graph="decoder.float16.onnx", kv_dtype="float16")
    assert max(self_test(bundle, lambda _: (None, half)).errors.values()) < 0.01
    graph = onnx.load(bundle.file("decoder.float16.onnx"), load_external_data=False).graph
    (gather,) = (node for node in graph.node if node.op_type == "GatherBlockQuantized")
    (expand,) = (node for node in graph.node if node.output[0] == gather.input[3])
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    value, shape = (numpy_helper.to_array(tensors[name]) for name in expand.input)
    assert value.tolist() == [[128 if bits == 8 else 0x88]]
    assert shape.tolist() == [640, 9 if bits == 8 else 5]
