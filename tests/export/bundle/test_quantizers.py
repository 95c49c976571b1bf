"""Exports with each quantizer: what the bundle says of itself, that it computes it, and what is refused."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from lineside.export.bundle.choices import Choices, to_options
from lineside.export.bundle.filling import Filling
from lineside.export.bundle.writer import export_bundle
from lineside.export.check.float64 import logits
from lineside.export.command import export_command
from lineside.export.engine.engines import build_engines
from lineside.export.errors import EngineBuildFailed, TooCoarse, Unsupported
from lineside.export.exported import Exported
from lineside.export.graph.kv import KVDtype
from lineside.runtime.bundle import open_bundle, read_manifest
from lineside.runtime.engine.engine import Engine
from lineside.runtime.errors import DeviceUnusable
from lineside.runtime.sessions.cuda import open_cuda
from lineside.runtime.sessions.selftest import relative_error
from tests.golden.prompts import prompts
from tests.support.checkpoints import copy_checkpoint

CHOICES: dict[str, Choices] = {
    "gptq": {},
    "awq": {"quantizer": "awq"},
    "nearest": {"quantizer": "nearest"},
    "sensitive": {"sensitive": "int8"},
    "gptq, cpu": {"target": "cpu"},
    "awq, cpu": {"target": "cpu", "quantizer": "awq"},
    "nearest, cpu": {"target": "cpu", "quantizer": "nearest"},
    "hqq, cpu": {"target": "cpu", "quantizer": "hqq"},
    "all in 4 bits": {"embedding": "int4", "head": "int4"},
}


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return copy_checkpoint("grouped", tmp_path)


def export(checkpoint: Path, target: Path, choices: Choices) -> Path:
    """With exact activations, so that a bundle computes what its integers mean."""
    options = to_options({**choices, "max_kl": 10.0})
    return export_bundle(
        checkpoint,
        target,
        dataclasses.replace(options, precisions=dataclasses.replace(options.precisions, accuracy_level=0)),
    )


@pytest.mark.parametrize("label", CHOICES)
def test_a_bundle_computes_what_its_integers_mean(label: str, checkpoint: Path, tmp_path: Path) -> None:
    choices = CHOICES[label]
    bundle = export(checkpoint, tmp_path / "bundle", choices)
    engine = Engine.open(bundle)
    prompt = prompts(engine.tokenizer)["text"]
    with engine.sequence(prompt, reserve=1) as sequence:
        found = np.array(sequence.logits)
    exported = Exported(open_bundle(bundle))
    assert relative_error(found, logits(exported, prompt.ids)[-1].astype(np.float32)) < 1e-4
    manifest = exported.bundle.manifest
    (*_, decoder) = manifest.quantizer["decoder"]
    assert decoder.method == {"nearest": "minimum-squared-error"}.get(
        choices.get("quantizer") or "gptq", decoder.method
    )
    assert decoder.symmetric == (manifest.target == "any")
    assert ("decoder.float16.onnx" in manifest.files) == (manifest.target == "any")


def make_uneven(checkpoint: Path) -> None:
    """Inputs of very unequal size, as a trained network has them and a random one has not."""
    rng = np.random.default_rng(7)
    for shard in checkpoint.glob("*.safetensors"):
        tensors = load_file(shard)
        for name, values in tensors.items():
            if name.endswith("layernorm.weight") and "language_model" in name:
                tensors[name] = (values * np.exp(rng.normal(0, 1, values.shape))).astype(values.dtype)
        save_file(tensors, shard, {"format": "pt"})


def test_gptq_is_nearer_to_the_floats_than_rounding_alone(checkpoint: Path, tmp_path: Path) -> None:
    make_uneven(checkpoint)
    floats = export_bundle(checkpoint, tmp_path / "floats", to_options({"precision": "float32"}))
    ids = np.random.default_rng(5).integers(20, 400, 64)
    exact = logits(Exported(open_bundle(floats)), ids)
    errors = {}
    for label in ("gptq", "awq", "nearest", "gptq, cpu"):
        bundle = open_bundle(export(checkpoint, tmp_path / label, CHOICES[label]))
        errors[label] = float(np.square(logits(Exported(bundle), ids) - exact).mean())
    assert errors["gptq"] < 0.9 * errors["nearest"]
    assert errors["gptq, cpu"] < errors["gptq"]
    assert errors["awq"] < errors["nearest"]


def test_a_bundle_for_a_cpu_alone_is_refused_elsewhere(checkpoint: Path, tmp_path: Path) -> None:
    bundle = export(checkpoint, tmp_path / "bundle", {"target": "cpu"})
    with pytest.raises(EngineBuildFailed, match="exported for a CPU alone: export it without `--target cpu`"):
        build_engines(bundle, "sm89")
    with pytest.raises(DeviceUnusable, match="exported for a CPU alone"):
        open_cuda(open_bundle(bundle), 64)
    with pytest.raises(Unsupported, match="--quantizer hqq gives zero points"):
        to_options({"quantizer": "hqq"})


def test_a_bundle_that_is_too_coarse_is_not_published(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "bundle"
    with pytest.raises(TooCoarse, match=r"nats a token from the float model, more than 1e-09"):
        export_bundle(checkpoint, target, to_options({"max_kl": 1e-9}))
    assert not target.exists()
    written: list[str] = []
    fill = Filling.fill_rest

    def fill_rest(self: Filling) -> str:
        written.append("rest")
        return fill(self)

    monkeypatch.setattr(Filling, "fill_rest", fill_rest)
    monkeypatch.setattr("lineside.export.bundle.filling.fill", lambda *_: pytest.fail("a finished weight is rounded"))
    assert export_command(checkpoint, target, None, {"max_kl": 5.0}) == 0
    assert "is ready" in capsys.readouterr().out
    assert written == ["rest"]
    card = (target / "model_card.md").read_text(encoding="utf-8")
    assert "KL divergence: " in card
    assert "nats a token" in card


@pytest.mark.parametrize("kv_dtype", ["float32", "int8"])
def test_the_cache_has_no_say_in_how_matrices_are_rounded(checkpoint: Path, tmp_path: Path, kv_dtype: KVDtype) -> None:
    stored = {
        label: (
            export(checkpoint, tmp_path / label, CHOICES[label] | {"kv_dtype": kv_dtype}) / "decoder.data"
        ).read_bytes()
        for label in ("gptq", "awq", "nearest", "nearest, cpu", "hqq, cpu")
    }
    assert len(set(stored.values())) == 5
    plain = export(checkpoint, tmp_path / "plain", CHOICES["nearest"]) / "decoder.data"
    assert plain.read_bytes() == stored["nearest"]


def test_a_table_of_an_untied_head_is_not_said_to_be_fitted(checkpoint: Path, tmp_path: Path) -> None:
    manifest = read_manifest(export(checkpoint, tmp_path / "bundle", CHOICES["all in 4 bits"]))
    assert [way.method for way in manifest.quantizer["embedding"]] == ["minimum-squared-error"]
    assert [way.method for way in manifest.quantizer["head"]] == ["gptq"]
    cpu = export(checkpoint, tmp_path / "cpu", {**CHOICES["all in 4 bits"], "target": "cpu"})
    assert read_manifest(cpu).quantizer["head"][0].symmetric  # zero points are for the layers alone


def test_a_spoilt_int8_cache_is_seen(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    choices: Choices = {"precision": "float32", "kv_dtype": "int8"}
    card = (export(checkpoint, tmp_path / "good", choices) / "model_card.md").read_text(encoding="utf-8")
    monkeypatch.setattr("lineside.export.graph.kv.MARGIN", 100.0)
    spoilt = (export(checkpoint, tmp_path / "spoilt", choices) / "model_card.md").read_text(encoding="utf-8")
    good_kl, spoilt_kl = (float(re.findall(r"divergence: ([0-9.]+) nats", text)[0]) for text in (card, spoilt))
    assert spoilt_kl > 20 * good_kl
    assert spoilt_kl > 0.001


def test_awq_leaves_a_silent_channel_of_a_norm_alone(checkpoint: Path, tmp_path: Path) -> None:
    for shard in checkpoint.glob("*.safetensors"):
        tensors = load_file(shard)
        for name in tensors:
            if name.endswith("input_layernorm.weight"):
                tensors[name][5] = 0
        save_file(tensors, shard, {"format": "pt"})
    bundle = Exported(open_bundle(export(checkpoint, tmp_path / "bundle", CHOICES["awq"])))
    assert np.isfinite(logits(bundle, np.arange(20, 40))).all()
    rounded = bundle.decoder.rounded("decoder.layers.0.self_attn.qkv", bundle.network.decoder.hidden_size).floats()
    assert np.abs(rounded).max() < 10


class Stopped(Exception):
    pass


def test_awq_goes_on_between_a_norm_and_its_matrix(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The norm that is written divides by factors; the matrix that is not yet must get the very same."""
    whole = export(checkpoint, tmp_path / "whole", {"quantizer": "awq"})
    fill = Filling.fill

    def stop(self: Filling, name: str, weight: object, *rest: object, **more: object) -> None:
        if getattr(weight, "name", "") == "decoder.layers.0.mlp.gate_up":
            raise Stopped
        fill(self, name, weight, *rest, **more)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(Filling, "fill", stop)
        with pytest.raises(Stopped):
            export(checkpoint, tmp_path / "resumed", {"quantizer": "awq"})
    resumed = export(checkpoint, tmp_path / "resumed", {"quantizer": "awq"})
    ids = np.arange(20, 60)
    first, second = (logits(Exported(open_bundle(bundle)), ids) for bundle in (whole, resumed))
    assert relative_error(second.astype(np.float32), first.astype(np.float32)) < 1e-3
