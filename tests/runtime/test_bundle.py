"""A bundle that is not what its manifest says never goes live."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from runtime.bundle import DEFAULT_BUNDLE, MANIFEST, open_bundle, verify_hashes
from runtime.engine import Engine
from runtime.errors import BundleDamaged, BundleFormat, SelfTestFailed
from runtime.selftest import GOLDEN_FILE, self_test


@pytest.fixture
def copy(random_bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(random_bundle, tmp_path / "bundle"))


@pytest.mark.parametrize("name", ["decoder.data", "vision.data", "decoder.onnx", "tekken.json", "golden.npz"])
def test_one_flipped_bit_is_found(copy: Path, name: str) -> None:
    data = bytearray((copy / name).read_bytes())
    data[len(data) // 2] ^= 1
    (copy / name).write_bytes(data)
    with pytest.raises(BundleDamaged, match=name.replace(".", r"\.")):
        verify_hashes(open_bundle(copy))


def test_a_missing_or_short_file_is_found_without_reading_weights(copy: Path) -> None:
    weights = copy / "decoder.data"
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(BundleDamaged, match="bytes instead of"):
        open_bundle(copy)
    weights.unlink()
    with pytest.raises(BundleDamaged, match="is missing"):
        Engine.open(copy)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format_version": 1}', "\xff", '{"format_version": 99}'])
def test_a_bad_manifest_is_named(copy: Path, text: str) -> None:
    (copy / MANIFEST).write_text(text, encoding="latin-1")
    with pytest.raises(BundleFormat, match=r"bundle\.json"):
        open_bundle(copy)


def test_a_manifest_cannot_lead_out_of_the_bundle(copy: Path) -> None:
    manifest = json.loads((copy / MANIFEST).read_text())
    manifest["files"]["../secret"] = {"bytes": 1, "sha256": "0" * 64}
    (copy / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(BundleFormat, match="leads out"):
        open_bundle(copy)


def test_no_bundle_at_all(tmp_path: Path) -> None:
    with pytest.raises(BundleFormat, match=r"is .* a bundle folder"):
        open_bundle(tmp_path)


def test_self_test_notices_other_outputs(copy: Path) -> None:
    with np.load(copy / GOLDEN_FILE) as golden:
        arrays = {name: golden[name] for name in golden.files}
    arrays["decode_logits"] = arrays["decode_logits"][:, ::-1]
    np.savez(copy / GOLDEN_FILE, **arrays)
    manifest = json.loads((copy / MANIFEST).read_text())
    manifest["files"][GOLDEN_FILE]["bytes"] = (copy / GOLDEN_FILE).stat().st_size
    (copy / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(SelfTestFailed, match="decode_logits"):
        self_test(open_bundle(copy))


def test_the_default_model_is_whole_and_reproduces_its_self_test() -> None:
    bundle = open_bundle(DEFAULT_BUNDLE)
    verify_hashes(bundle)
    assert max(self_test(bundle).errors.values()) < 0.05
    assert sum(entry.bytes for entry in bundle.manifest.files.values()) < 40e6
    assert bundle.manifest.quantization["decoder"] == "int4"
