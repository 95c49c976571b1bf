"""The measures by which roundings are compared, the floats that they round, and what is read of a bundle."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lineside.export.check.synthetic import write_synthetic
from tests.benchmarks.divergence import divergences, windows
from tests.benchmarks.exact import ExactDecoder, layer_bytes
from tests.benchmarks.floats import BLOCK, STEPS, dithered
from tests.benchmarks.gpu import reduced
from tests.support.tokenizers import write_small_tokenizer


def test_a_model_is_no_way_from_itself_and_some_way_from_another() -> None:
    logits = np.log(np.asarray([[0.5, 0.25, 0.25], [0.25, 0.5, 0.25]], np.float32))
    other = np.log(np.asarray([[0.25, 0.5, 0.25], [0.25, 0.5, 0.25]], np.float32))
    found, itself = divergences([([0, 1], logits)], [lambda _ids: other])
    assert itself == {"kl": 0.0, "same_top": 1.0, "perplexity": pytest.approx(4.0)}
    assert found["kl"] == pytest.approx(0.25 * np.log(2) / 2)
    assert found["same_top"] == 0.5
    assert found["perplexity"] == pytest.approx(2.0), "the text's token is 1 behind 0"


def test_windows_are_whole_and_follow_each_other() -> None:
    assert windows(list(range(2000)), 2) == [list(range(512)), list(range(512, 1024))]


def test_weights_move_by_half_a_step_at_most_and_the_others_stay() -> None:
    weights = {f"blk.0.{part}.weight": np.linspace(-1, 1, 8 * 64, dtype=np.float32).reshape(8, 64)
               for part in ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")}  # fmt: skip
    weights["token_embd.weight"] = np.ones((4, 64), np.float32)
    moved = dithered(weights, {"attn_q": 2, "attn_k": 1})
    assert moved["token_embd.weight"] is weights["token_embd.weight"]
    for name in set(weights) - {"token_embd.weight"}:
        blocks = weights[name].reshape(-1, BLOCK)
        step = np.ptp(blocks, axis=1, keepdims=True) / STEPS
        off = np.abs(moved[name].reshape(-1, BLOCK) - blocks) / step
        assert 0.4 < off.max() <= 0.5 + 1e-4
    again = dithered(weights, {"attn_q": 2, "attn_k": 1})
    assert all(np.array_equal(moved[name], again[name]) for name in weights)


def test_the_exact_decoder_takes_other_weights_and_the_bytes_are_those_of_the_layers(tmp_path: Path) -> None:
    tokenizer = tmp_path / "tekken.json"
    write_small_tokenizer(tokenizer)
    network = replace(reduced().network, vision=None, image_token_id=-1)
    bundle = write_synthetic(tmp_path / "bundle", network, tokenizer, layers=1)
    size, weights = layer_bytes(bundle, 640)
    decoder = network.decoder
    queries, keys = decoder.num_attention_heads * decoder.head_dim, decoder.num_key_value_heads * decoder.head_dim
    hidden = decoder.hidden_size
    assert weights == hidden * (2 * queries + 2 * keys + 3 * decoder.intermediate_size)
    assert 4 <= 8 * size / weights <= 5
    logits = ExactDecoder(bundle)([1, 5, 9])
    assert logits.shape == (3, 640)
    other = ExactDecoder(bundle, {"decoder.norm.weight": np.zeros(hidden, np.float32)})([1, 5, 9])
    assert np.abs(logits).max() > 0
    assert np.array_equal(other, np.zeros((3, 640), np.float32))
