"""GGUF files: every block is carried over as it is, and the network computes what llama.cpp's layout means."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from gguf import GGMLQuantizationType, GGUFWriter, quants

from lineside.export.bundle.options import ExportOptions
from lineside.export.bundle.plan import PRECISIONS
from lineside.export.bundle.writer import export_bundle
from lineside.export.checkpoint.ggml import GGML_FORMATS, dequantize_blocks
from lineside.export.checkpoint.gguf import STAND_INS
from lineside.export.errors import MissingPart, Unsupported
from lineside.export.graph.kv import KVDtype
from lineside.runtime.bundle import open_bundle
from lineside.runtime.chat import Message, Prompt
from lineside.runtime.engine.engine import Engine
from lineside.runtime.errors import PicturesUnsupported
from lineside.runtime.sessions.selftest import relative_error
from lineside.runtime.text.tokenizer import Tokenizer
from tests.support.gguf_files import HEAD_DIM, HEADS, HIDDEN, KV_HEADS, LAYERS, random_blocks, write_gguf
from tests.support.tokenizers import write_small_tokenizer

EXACT = dataclasses.replace(PRECISIONS["int4"], accuracy_level=0)
IDS = np.asarray([5, 99, 300, 7, 612, 613, 42, 8, 99, 300, 401])
Floats = dict[str, npt.NDArray[np.float32]]


def rotate(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Interleaved rotary embedding of `(T, heads, head_dim)`, as llama.cpp applies it to this architecture."""
    angles = np.outer(np.arange(len(x)), 10000.0 ** -(np.arange(0, HEAD_DIM, 2) / HEAD_DIM))[:, None]
    even, odd = x[..., 0::2], x[..., 1::2]
    turned = (even * np.cos(angles) - odd * np.sin(angles), even * np.sin(angles) + odd * np.cos(angles))
    return np.stack(turned, axis=-1).reshape(x.shape)


def reference_logits(floats: Floats, ids: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """The network in float64, straight from the file's own layout; logits of the last position."""

    def norm(x: npt.NDArray[np.float64], name: str) -> npt.NDArray[np.float64]:
        normed: npt.NDArray[np.float64] = x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-5)
        return normed * floats[f"{name}.weight"]

    def linear(x: npt.NDArray[np.float64], name: str) -> npt.NDArray[np.float64]:
        product: npt.NDArray[np.float64] = x @ floats[f"{name}.weight"].T.astype(np.float64)
        return product

    x = floats["token_embd.weight"][ids].astype(np.float64)
    causal = np.triu(np.full((len(ids), len(ids)), -np.inf), 1)
    for i in range(LAYERS):
        at = f"blk.{i}"
        h = norm(x, f"{at}.attn_norm")
        q = rotate(linear(h, f"{at}.attn_q").reshape(len(ids), HEADS, HEAD_DIM))
        k = rotate(linear(h, f"{at}.attn_k").reshape(len(ids), KV_HEADS, HEAD_DIM))
        v = linear(h, f"{at}.attn_v").reshape(len(ids), KV_HEADS, HEAD_DIM)
        k, v = (np.repeat(part, HEADS // KV_HEADS, axis=1) for part in (k, v))
        scores = np.einsum("thd,shd->hts", q, k) / np.sqrt(HEAD_DIM) + causal
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        weights /= weights.sum(-1, keepdims=True)
        x = x + linear(np.einsum("hts,shd->thd", weights, v).reshape(len(ids), HIDDEN), f"{at}.attn_output")
        h = norm(x, f"{at}.ffn_norm")
        gate = linear(h, f"{at}.ffn_gate")
        x = x + linear(gate / (1 + np.exp(-gate)) * linear(h, f"{at}.ffn_up"), f"{at}.ffn_down")
    head = "output" if "output.weight" in floats else "token_embd"
    last: npt.NDArray[np.float64] = linear(norm(x[-1:], "output_norm"), head)[0]
    return last


def logits(bundle: Path) -> npt.NDArray[np.float32]:
    with Engine.open(bundle).sequence(Prompt(IDS), reserve=0) as sequence:
        return sequence.logits.copy()


@pytest.mark.parametrize("kind", GGML_FORMATS)
def test_blocks_mean_what_ggml_says(kind: str) -> None:
    raw = random_blocks(kind, 16, 512, np.random.default_rng(1))
    blocks = GGML_FORMATS[kind].rows(raw)
    form = GGML_FORMATS[kind].block
    assert blocks.integers.min() >= -(2 ** (form.bits - 1))
    assert blocks.integers.max() < 2 ** (form.bits - 1)
    expected = quants.dequantize(raw, GGMLQuantizationType[kind])
    np.testing.assert_allclose(dequantize_blocks(blocks, form.size), expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("kind", GGML_FORMATS)
def test_a_bundle_computes_what_the_file_means(kind: str, tmp_path: Path) -> None:
    matrices = dict.fromkeys(("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"), kind)
    file = write_gguf(tmp_path, matrices, tied=kind in ("Q4_1", "Q6_K"))
    exact = export_bundle(file.path, tmp_path / "exact", ExportOptions(EXACT))
    expected = reference_logits(file.floats, IDS).astype(np.float32)
    assert relative_error(logits(exact), expected) < 1e-4
    fast = export_bundle(file.path, tmp_path / "fast")
    assert relative_error(logits(fast), expected) < 0.05


def test_types_may_differ_within_a_layer(tmp_path: Path) -> None:
    """As in Q4_K_M files: V finer than Q and K, the table and the head in formats of their own."""
    kinds = {"attn_v": "Q6_K", "attn_q": "Q4_K", "attn_k": "Q4_K", "ffn_up": "Q4_0", "ffn_gate": "Q5_K",
             "ffn_down": "Q6_K", "token_embd": "Q6_K", "output": "Q4_1"}  # fmt: skip
    file = write_gguf(tmp_path, kinds)
    expected = reference_logits(file.floats, IDS).astype(np.float32)
    assert relative_error(logits(export_bundle(file.path, tmp_path / "b", ExportOptions(EXACT))), expected) < 1e-4


def test_a_table_with_minima_is_rounded_to_8_bits(tmp_path: Path) -> None:
    """The one loss: GatherBlockQuantized knows no minima."""
    file = write_gguf(tmp_path, {"token_embd": "Q4_K"}, tied=True)
    expected = reference_logits(file.floats, IDS).astype(np.float32)
    error = relative_error(logits(export_bundle(file.path, tmp_path / "b", ExportOptions(EXACT))), expected)
    assert 1e-4 < error < 0.01


def test_a_language_model_takes_no_pictures(tmp_path: Path) -> None:
    engine = Engine.open(export_bundle(write_gguf(tmp_path, {}).path, tmp_path / "b"))
    assert engine.bundle.manifest.image is None
    prompt = engine.tokenizer.encode_chat([Message("user", (np.zeros((30, 30, 3), np.uint8), "What is it?"))])
    with pytest.raises(PicturesUnsupported, match="takes text only"), engine.sequence(prompt, reserve=1):
        pass


@pytest.mark.parametrize("name", ["blk.0.ffn_gate_inp.weight", "blk.0.attn_q.bias", "blk.0.attn_q_norm.weight"])
def test_a_tensor_that_the_network_does_not_use_is_refused(name: str, tmp_path: Path) -> None:
    """Left out, the model would be wrong without a word."""
    writer = GGUFWriter(tmp_path / "other.gguf", "llama")
    writer.add_tensor(name, np.ones(32, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(Unsupported, match=name):
        export_bundle(tmp_path / "other.gguf", tmp_path / "b")


def test_the_tokenizer_must_have_the_file_s_vocabulary(tmp_path: Path) -> None:
    write_small_tokenizer(tmp_path / "tekken.json")
    characters = {byte: character for character, byte in STAND_INS.items()}
    tokens = ["".join(characters[byte] for byte in piece) for piece in Tokenizer(tmp_path / "tekken.json").token_bytes]
    export_bundle(write_gguf(tmp_path, {}, tokens=tokens).path, tmp_path / "same")
    tokens[400] = "another"
    with pytest.raises(Unsupported, match="belongs to another model: token 400 is"):
        export_bundle(write_gguf(tmp_path, {}, tokens=tokens).path, tmp_path / "other")


def test_float32_on_request(tmp_path: Path) -> None:
    file = write_gguf(tmp_path, {"ffn_up": "Q4_K"})
    bundle = export_bundle(file.path, tmp_path / "b", ExportOptions(PRECISIONS["float32"]))
    assert set(open_bundle(bundle).manifest.quantization.values()) == {"float32"}
    assert relative_error(logits(bundle), reference_logits(file.floats, IDS).astype(np.float32)) < 1e-4


def test_what_would_be_rounded_twice_is_refused(tmp_path: Path) -> None:
    file = write_gguf(tmp_path, {})
    writer = GGUFWriter(tmp_path / "q2.gguf", "llama")
    raw = np.zeros((4, 84), np.uint8)
    writer.add_tensor("blk.0.ffn_up.weight", raw, raw_dtype=GGMLQuantizationType.Q2_K)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(Unsupported, match=r"blk\.0\.ffn_up\.weight is Q2_K, .*rounded a second time; supported: F32"):
        export_bundle(tmp_path / "q2.gguf", tmp_path / "b")
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(file.path.read_bytes()[:200_000])
    with pytest.raises(MissingPart, match="cut off"):
        export_bundle(cut, tmp_path / "b")
    (tmp_path / "tekken.json").unlink()
    with pytest.raises(MissingPart, match=r"tekken\.json"):
        export_bundle(file.path, tmp_path / "b")
    assert not list(tmp_path.glob("b*"))


@pytest.mark.parametrize(("dtype", "tolerance"), [("float16", 2e-3), ("int8", 0.03)])
def test_kv_formats_cost_little(dtype: KVDtype, tolerance: float, tmp_path: Path) -> None:
    """Through chunked prefill, passes over several tokens and a cache that was copied."""
    file = write_gguf(tmp_path, {})
    kinds: dict[str, KVDtype] = {"plain": "float32", "small": dtype}
    plain, small = (
        Engine.open(export_bundle(file.path, tmp_path / name, ExportOptions(EXACT, kind)))
        for name, kind in kinds.items()
    )
    sizes = [engine.bundle.manifest.kv.bytes_per_token for engine in (plain, small)]
    assert sizes[0] == sizes[1] * (2 if dtype == "float16" else 4)
    ids = np.random.default_rng(3).integers(100, 600, 400)
    rows = []
    for engine in (plain, small):
        with engine.sequence(Prompt(ids[:300]), reserve=0) as sequence:
            rows.append([sequence.logits.copy()])
        with engine.sequence(Prompt(ids[:380]), reserve=10) as sequence:  # a larger cache: the first is copied
            assert sequence.counts.reused == 299 or sequence.counts.reused == 300
            rows[-1].append(sequence.logits.copy())
            sequence.hold(int(ids[390]))
            rows[-1] += list(sequence.decode_pass([int(token) for token in ids[391:396]]).copy())
    for ours, exact in zip(rows[1], rows[0], strict=True):
        assert 0 < relative_error(ours, exact) < tolerance
