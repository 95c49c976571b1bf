"""A graph in pieces computes what it computes whole, to the last bit, and holds no more than a piece."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest

import lineside.export.bundle.pieces as pieces
from lineside.export.bundle.golden import write_golden
from lineside.export.bundle.options import ExportOptions
from lineside.export.bundle.pieces import decoder_pass, empty_caches, run_in_pieces
from lineside.export.bundle.writer import export_bundle
from lineside.export.graph.kv import KVDtype
from lineside.runtime.bundle import Bundle, open_bundle
from lineside.runtime.errors import BundleDamaged
from lineside.runtime.sessions.ort import load_graph, open_cpu
from lineside.runtime.sessions.selftest import run_selftest_inputs
from tests.support.checkpoints import copy_checkpoint


def golden(bundle: Bundle) -> dict[str, np.ndarray]:
    with np.load(bundle.file("golden.npz")) as stored:
        return dict(stored)


@pytest.mark.parametrize(("case", "kv"), [("grouped", "float32"), ("tied", "int8"), ("wide_heads", "float16")])
def test_pieces_give_what_the_sessions_that_serve_give(
    case: str, kv: KVDtype, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pieces, "PIECE_BYTES", 20_000)
    bundle = open_bundle(
        export_bundle(copy_checkpoint(case, tmp_path), tmp_path / "bundle", ExportOptions(kv_dtype=kv))
    )
    stored = golden(bundle)
    expected = run_selftest_inputs(bundle, stored, *open_cpu(bundle))
    assert set(expected) == {"image_embeds", "prefill_logits", "decode_logits"}
    for name, array in expected.items():
        np.testing.assert_array_equal(stored[name], array)


def test_no_more_than_a_piece_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each piece is loaded once for all passes, and no two pieces are loaded at a time."""
    bundle = open_bundle(export_bundle(copy_checkpoint("tied", tmp_path), tmp_path / "bundle"))
    loaded: list[int] = []

    def record(path: Path, threads: int) -> ort.InferenceSession:
        graph = onnx.load(str(path), load_external_data=False).graph
        weights = [t for t in graph.initializer if t.data_location == onnx.TensorProto.EXTERNAL]
        fields = ({entry.key: entry.value for entry in t.external_data} for t in weights)
        loaded.append(sum(int(each["length"]) for each in fields))
        return load_graph(path, threads)

    monkeypatch.setattr(pieces, "load_graph", record)
    manifest, path = bundle.manifest, bundle.file("decoder.onnx")
    passes = [decoder_pass(manifest, np.array([5, 6, 7]), 0), decoder_pass(manifest, np.array([8]), 3)]
    whole = run_in_pieces(path, passes, empty_caches(manifest, 4))
    (all_bytes,) = loaded
    monkeypatch.setattr(pieces, "PIECE_BYTES", most := 66_000)
    caches = empty_caches(manifest, 4)
    found = run_in_pieces(path, passes, caches)
    assert len(loaded) > 3
    assert max(loaded[1:]) <= most < all_bytes / 2
    for one, other in zip(whole, found, strict=True):
        np.testing.assert_array_equal(one["logits"], other["logits"])
    assert all(np.abs(cache[:, :, :4]).min(axis=(1, 2)).any() for cache in caches.values())
    assert {path.name for path in bundle.path.iterdir()} == {*bundle.manifest.files, "bundle.json"}


def test_a_weight_file_that_is_cut_off_is_named(tmp_path: Path) -> None:
    bundle = open_bundle(export_bundle(copy_checkpoint("tied", tmp_path), tmp_path / "bundle"))
    data = bundle.file("decoder.data")
    data.write_bytes(data.read_bytes()[:5000])
    with pytest.raises(BundleDamaged, match=r"decoder\.piece\.onnx cannot be loaded"):
        write_golden(bundle.path, bundle.manifest)
