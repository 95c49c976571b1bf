"""`python -m tests.benchmarks.large` on small shapes: the GGUF file holds the same numbers, and the table adds up."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

from lineside.export.check.synthetic import MISTRAL_SMALL, write_synthetic
from lineside.export.exported import Exported
from lineside.runtime.bundle import open_bundle
from tests.benchmarks import large, large_engine
from tests.benchmarks.large_gguf import write_gguf
from tests.benchmarks.results import Results
from tests.support.tokenizers import write_small_tokenizer

LAYERS = 2


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("large")
    decoder = dataclasses.replace(
        MISTRAL_SMALL.decoder, hidden_size=256, intermediate_size=512, num_attention_heads=4, num_key_value_heads=2,
        head_dim=64, context_length=512,
    )  # fmt: skip
    write_small_tokenizer(folder / "tekken.json", vocab_size=640, max_image_size=224)
    network = dataclasses.replace(MISTRAL_SMALL, decoder=decoder, vision=None)
    return write_synthetic(folder / "bundle", network, folder / "tekken.json", layers=LAYERS)


def test_llama_cpp_is_given_the_same_numbers(bundle: Path, tmp_path: Path) -> None:
    write_gguf(bundle, tmp_path / "model.gguf")
    tensors = {tensor.name: tensor for tensor in gguf.GGUFReader(tmp_path / "model.gguf").tensors}
    graph = Exported(open_bundle(bundle)).decoder
    for name, columns, theirs in (
        ("lm_head", 256, ["output"]),
        ("decoder.layers.1.self_attn.qkv", 256, ["blk.1.attn_q", "blk.1.attn_k", "blk.1.attn_v"]),
        ("decoder.layers.0.mlp.gate_up", 256, ["blk.0.ffn_gate", "blk.0.ffn_up"]),
        ("decoder.layers.1.mlp.down", 512, ["blk.1.ffn_down"]),
    ):
        found = [tensors[f"{part}.weight"] for part in theirs]
        floats = np.concatenate([gguf.dequantize(one.data, one.tensor_type) for one in found])
        wanted = graph.rounded(name, columns).floats()
        np.testing.assert_allclose(floats, wanted, rtol=1e-3)  # scales are float16 there
    assert len(tensors) == 3 + 9 * LAYERS


def test_a_token_is_decoded_behind_another(bundle: Path) -> None:
    step = large_engine.lineside(bundle, 1)
    assert all(np.isfinite(np.asarray(step(place))).all() for place in range(3))


def test_what_was_measured_is_kept(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[large.Row] = []

    def run(row: large.Row, path: Path, threads: int) -> dict[str, Any]:
        assert (path.suffix == ".gguf", threads) == (row.engine == "llama.cpp", 2)
        runs.append(row)
        if len(runs) == 3:
            raise KeyboardInterrupt
        return {"bytes_s": 20e9, "load_s": 2.0, "load_cpu_s": 3.0, "step_s": 0.001, "peak_mb": 500.0}

    monkeypatch.setattr(large, "_run", run)
    with pytest.raises(KeyboardInterrupt):
        large.measure(Results(tmp_path / "figures.json"), bundle, Path("x.gguf"), 2)
    taken = large.measure(Results(tmp_path / "figures.json"), bundle, Path("x.gguf"), 2)
    assert len(runs) == 1 + large.ROUNDS * (1 + len(large.ROWS))
    text = large.section(taken, bundle, 2)
    rows = [line for line in text.splitlines() if line.startswith(("| Lineside", "| llama.cpp"))]
    assert [row.split(" | ")[0] for row in rows] == [f"| {row.name}" for row in large.ROWS]


def test_a_step_needs_what_the_formats_hold(bundle: Path) -> None:
    ours, theirs = (large.needed(bundle, scale_bytes) for scale_bytes in (4, 2))
    weights = 256 * (256 + 2 * 128) + 256 * 256 + 3 * 256 * 512
    norms = 2 * 256 * 4
    assert ours.layer == weights * 5 / 8 + norms
    assert theirs.layer == weights * 4.5 / 8 + norms
    assert ours.word == 256 + 256 / 32 * 4
