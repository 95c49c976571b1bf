"""A bundle that is not what its manifest says never goes live."""

from __future__ import annotations

import json
import re
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lineside.edge.device_choice import open_engine
from lineside.export.bundle.options import ExportOptions
from lineside.export.bundle.writer import export_bundle
from lineside.export.graph.kv import KVDtype
from lineside.runtime.bundle import Bundle, open_bundle, verify_hashes
from lineside.runtime.defaults import DEFAULT_BUNDLE
from lineside.runtime.engine.engine import Engine
from lineside.runtime.errors import BundleDamaged, BundleFormat, DeviceUnusable, SelfTestFailed
from lineside.runtime.manifest import MANIFEST
from lineside.runtime.sessions.ort import OrtDecoder, OrtVision
from lineside.runtime.sessions.selftest import EXACT, GOLDEN_FILE, ROUNDED_TOLERANCE, relative_error, self_test
from tests.support.checkpoints import copy_checkpoint


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


@pytest.mark.parametrize("name", ["vision.data", "decoder.data", "decoder.onnx", "tekken.json", "decoder.float16.onnx"])
def test_a_damaged_bundle_never_runs(copy: Path, name: str) -> None:
    """256 bytes in the middle: most of them would run, and answer something else. Also files that this session does not
    load, and those that cannot be loaded at all with the damage."""
    data = bytearray((copy / name).read_bytes())
    middle = len(data) // 2
    data[middle : middle + 256] = bytes(255 - byte for byte in data[middle : middle + 256])
    (copy / name).write_bytes(data)
    for start in (lambda: Engine.open(copy, threads=1), lambda: open_engine(copy, device="cpu")):
        with pytest.raises(BundleDamaged, match=rf"{re.escape(name)} is damaged \(SHA-256 differs\)"):
            start()


def test_what_fails_beside_the_hashing_is_told_as_it_is(copy: Path) -> None:
    def broken(_: Bundle) -> tuple[OrtVision | None, OrtDecoder]:
        raise DeviceUnusable("no driver")

    with pytest.raises(DeviceUnusable, match="no driver"):
        Engine.open(copy, sessions=broken)


def test_an_interrupted_start_does_not_wait_for_the_hashes(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def hashing(_: Path, stop: threading.Event) -> str:
        assert stop.wait(20), "the start was interrupted, and hashing goes on"
        return ""

    def interrupted(_: Bundle) -> tuple[OrtVision | None, OrtDecoder]:
        raise KeyboardInterrupt

    monkeypatch.setattr("lineside.runtime.bundle.file_sha256", hashing)
    with pytest.raises(KeyboardInterrupt):
        Engine.open(copy, sessions=interrupted)


def test_a_missing_or_short_file_is_found_without_reading_weights(copy: Path) -> None:
    weights = copy / "decoder.data"
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(BundleDamaged, match="bytes instead of"):
        open_bundle(copy)
    weights.unlink()
    with pytest.raises(BundleDamaged, match="is missing"):
        Engine.open(copy)


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
    def turn(arrays: dict[str, np.ndarray]) -> None:
        arrays["decode_logits"] = arrays["decode_logits"][:, ::-1]

    with pytest.raises(SelfTestFailed, match="decode_logits"):
        self_test(edit_golden(copy, turn))


@pytest.mark.parametrize("name", ["ids", "decode_logits"])
def test_a_self_test_that_lacks_something_is_named(copy: Path, name: str) -> None:
    bundle = edit_golden(copy, lambda arrays: arrays.__delitem__(name))
    with pytest.raises(SelfTestFailed, match=rf"golden.npz cannot be used \({name} is missing"):
        self_test(bundle)
    (copy / GOLDEN_FILE).write_bytes(b"no archive")
    with pytest.raises(SelfTestFailed, match=r"golden.npz cannot be used .*: copy the bundle again"):
        self_test(bundle)


@pytest.mark.parametrize("kind", ["float32", "float16", "int8"])
def test_a_gpu_s_graphs_reproduce_the_exact_outputs(tmp_path: Path, kind: KVDtype) -> None:
    """The graphs for CUDA on the CPU's kernels; 8-bit activations are much further off. An INT8 cache has an error of
    its own, in both.
    """
    bundle = open_bundle(
        export_bundle(copy_checkpoint("grouped", tmp_path), tmp_path / "bundle", ExportOptions(kv_dtype=kind))
    )
    assert not bundle.file("decoder.exact.onnx").exists()
    errors = self_test(bundle, float16_sessions).errors
    assert max(errors.values()) < (0.8 if kind == "int8" else 0.5) * max(errors_of_the_cpu(bundle))
    assert sorted(errors) == ["decode_logits", "image_embeds", "prefill_logits"]


def float16_sessions(bundle: Bundle) -> tuple[OrtVision, OrtDecoder]:
    assert bundle.manifest.image is not None
    kv_dtype = "float16" if bundle.manifest.kv.dtype == "float32" else bundle.manifest.kv.dtype
    decoder = OrtDecoder(bundle, 1, graph="decoder.float16.onnx", kv_dtype=kv_dtype)
    return OrtVision(bundle, bundle.manifest.image, 1, graph="vision.float16.onnx"), decoder


def errors_of_the_cpu(bundle: Bundle) -> list[float]:
    """How far the CPU's own outputs are from the exact ones."""
    with np.load(bundle.file(GOLDEN_FILE)) as golden:
        return [relative_error(golden[name], golden[EXACT + name]) for name in ("prefill_logits", "decode_logits")]


def edit_golden(path: Path, change: Callable[[dict[str, np.ndarray]], None]) -> Bundle:
    with np.load(path / GOLDEN_FILE) as golden:
        arrays = {name: golden[name] for name in golden.files}
    change(arrays)
    np.savez(path / GOLDEN_FILE, **arrays)
    manifest = json.loads((path / MANIFEST).read_text())
    manifest["files"][GOLDEN_FILE]["bytes"] = (path / GOLDEN_FILE).stat().st_size
    (path / MANIFEST).write_text(json.dumps(manifest))
    return open_bundle(path)


def test_a_bundle_without_exact_outputs_is_checked_on_a_gpu_too(copy: Path) -> None:
    """Those of earlier versions: there a GPU is compared with a CPU's rounding."""

    def forget(arrays: dict[str, np.ndarray]) -> None:
        for name in [name for name in arrays if name.startswith(EXACT)]:
            del arrays[name]

    bundle = edit_golden(copy, forget)
    assert 0.001 < max(self_test(bundle, float16_sessions).errors.values()) < ROUNDED_TOLERANCE

    def turn(arrays: dict[str, np.ndarray]) -> None:
        arrays["decode_logits"] = arrays["decode_logits"][:, ::-1]

    with pytest.raises(DeviceUnusable, match=r"decode_logits is off by .* \(allowed 0.25\)"):
        self_test(edit_golden(copy, turn), float16_sessions)


def test_another_processor_may_round_elsewhere(copy: Path) -> None:
    def shift(by: float) -> Callable[[dict[str, np.ndarray]], None]:
        def edit(arrays: dict[str, np.ndarray]) -> None:
            exact, rounded = arrays[EXACT + "prefill_logits"].astype(np.float32), arrays["prefill_logits"]
            off = rounded - exact
            arrays["prefill_logits"] = exact + off * (0.2 * np.linalg.norm(exact) / np.linalg.norm(off)).astype(
                np.float32
            )
            arrays["prefill_logits"] *= 1 + by

        return edit

    assert 0.05 < self_test(edit_golden(copy, shift(0.0))).errors["prefill_logits"] < 0.25
    with pytest.raises(SelfTestFailed, match=r"prefill_logits is off by .* \(allowed 0.5\)"):
        self_test(edit_golden(copy, shift(1.5)))


def test_a_gpu_is_compared_with_the_exact_outputs_only(copy: Path) -> None:
    def turn(arrays: dict[str, np.ndarray]) -> None:
        arrays["prefill_logits"] = arrays["prefill_logits"][::-1]

    self_test(edit_golden(copy, turn), float16_sessions)

    def spoil(arrays: dict[str, np.ndarray]) -> None:
        arrays[EXACT + "prefill_logits"] = arrays[EXACT + "prefill_logits"][::-1]

    with pytest.raises(DeviceUnusable, match="does not reproduce the bundle's self-test: prefill_logits is off"):
        self_test(edit_golden(copy, spoil), float16_sessions)


def test_the_default_model_is_whole_and_reproduces_its_self_test() -> None:
    bundle = open_bundle(DEFAULT_BUNDLE)
    verify_hashes(bundle)
    assert max(self_test(bundle).errors.values()) < 0.05
    with np.load(bundle.file(GOLDEN_FILE)) as golden:
        assert {EXACT + "prefill_logits", EXACT + "decode_logits"} <= set(golden.files)
    assert max(self_test(bundle, float16_sessions).errors.values()) < 0.05
    assert sum(entry.bytes for entry in bundle.manifest.files.values()) < 40e6
    assert bundle.manifest.quantization["decoder"] == "int4"
