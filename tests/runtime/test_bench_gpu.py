"""`make bench-gpu` on small shapes: every figure of the report, on the CPU."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.sessions import choose
from tests.benchmarks import gpu


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bench")


def test_every_figure_is_measured(folder: Path) -> None:
    path = gpu.bench(folder, "cpu", gpu.reduced())
    text = path.read_text()
    assert path.name == "cpu.md"
    cells = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    rows = {row[0]: row[1] for row in cells if len(row) > 1}
    for name in (
        "memory bandwidth, measured", "prefill, 64 tokens", "prefill, 256 tokens", "decode at context 32",
        "decode at context 128", "decode at context 512", "vision, 112 pixels square", "vision, 224 pixels square",
        "peak memory",
    ):  # fmt: skip
        assert float(rows[name].split()[0]) > 0
    assert "One layer against float64: relative error" in text
    assert text.count("%") == 3, "a share of the roofline for every context"


def test_a_layer_that_computes_something_else_is_found(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = gpu._bundle(folder, "layer", gpu.reduced(), 1)
    monkeypatch.setattr(gpu, "CHECK_TOLERANCE", 1e-6)
    with pytest.raises(ValueError, match="one layer is off by"):
        choose(bundle, "cpu", lambda sessions: gpu.check_layer(bundle, sessions))


def test_a_step_reads_every_weight_but_the_tables(folder: Path) -> None:
    plan = gpu.reduced()
    bundle, decoder = gpu._bundle(folder, "layer", plan, 1), plan.network.decoder
    hidden, inner, size = decoder.hidden_size, decoder.intermediate_size, decoder.head_dim
    heads, kv = decoder.num_attention_heads * size, decoder.num_key_value_heads * size
    layer = hidden * (2 * heads + 2 * kv + 3 * inner)
    norms = 3 * hidden * 4
    head = hidden * plan.vocab_size
    assert gpu.weight_bytes(bundle, half_scales=False) == layer // 2 + layer // 8 + head + head // 8 + norms
    assert gpu.weight_bytes(bundle, half_scales=True) == layer // 2 + layer // 16 + head + head // 16 + norms
