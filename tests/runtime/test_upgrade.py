"""A bundle is brought up without its checkpoint, and nothing that was made with it is lost."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from lineside.runtime.bundle import file_sha256, open_bundle, verify_hashes
from lineside.runtime.defaults import DEFAULT_BUNDLE
from lineside.runtime.errors import BundleDamaged, BundleFormat, BundleNotWritten
from lineside.runtime.manifest import MANIFEST, Taught, TaughtPart
from lineside.runtime.sessions.selftest import self_test
from lineside.runtime.upgrade import upgrade_bundle
from tests.support.bundles import as_format_2, copy_bundle, edit_manifest, without_scales

TAUGHT = 'report = true\ntools_at_once = 30\nrounds = 2\n[[parts]]\nname = "gear"\ncolors = ["grey"]\n'
DEFAULT_IN_FORMAT_2 = "5810ce100b0c33d1c46b833998c3cff5fd2724ebb1fed9cde8bf0e3a9b8531f6"
DEFAULT_IN_FORMAT_3 = "605a9be7f861eef5b3d2a46fbb82955a1b10fd9385ac433d30a331073f24d431"
"""SHA-256 of the manifests with which the default model was shipped before."""
CARD_THEN = {"bytes": 9120, "sha256": "ef397704c381a3affd690b938b2e21a9ff65a2c2c5801774e3c34fedbaebe766"}


@pytest.fixture
def copy(random_bundle: Path, tmp_path: Path) -> Path:
    return copy_bundle(random_bundle, tmp_path / "bundle")


@pytest.fixture
def declared(tmp_path: Path) -> Path:
    path = tmp_path / "taught.toml"
    path.write_text(TAUGHT)
    return path


def test_the_default_model_is_the_one_that_was_shipped_in_format_2(tmp_path: Path) -> None:
    """But for its card, which says the same in other words."""
    copy = copy_bundle(DEFAULT_BUNDLE, tmp_path / "default")
    as_format_2(copy)
    edit_manifest(copy, lambda manifest: manifest["files"].update({"model_card.md": CARD_THEN}))
    assert file_sha256(copy / MANIFEST) == DEFAULT_IN_FORMAT_2
    assert open_bundle(DEFAULT_BUNDLE).answers_to(DEFAULT_IN_FORMAT_2)
    assert open_bundle(DEFAULT_BUNDLE).manifest.supersedes == (DEFAULT_IN_FORMAT_2, DEFAULT_IN_FORMAT_3)


def test_format_2_becomes_format_4_and_stays_the_same_model(copy: Path) -> None:
    written = open_bundle(copy).manifest
    before = as_format_2(copy)
    weights = {path.name: path.stat().st_mtime_ns for path in copy.iterdir() if path.name != MANIFEST}
    after = upgrade_bundle(copy)
    assert (after.manifest.format_version, after.manifest.rounds, after.manifest.taught) == (4, 4, Taught())
    assert (after.manifest.files, after.manifest.quantizer) == (written.files, without_scales(written.quantizer))
    assert after.sha256 != before.sha256
    assert after.answers_to(before.sha256)
    assert {path.name: path.stat().st_mtime_ns for path in copy.iterdir() if path.name != MANIFEST} == weights
    verify_hashes(after)
    self_test(after)


def test_a_second_upgrade_changes_nothing(copy: Path, declared: Path) -> None:
    as_format_2(copy)
    once = upgrade_bundle(copy, declared)
    assert upgrade_bundle(copy, declared).sha256 == upgrade_bundle(copy).sha256 == once.sha256
    assert len(once.manifest.supersedes) == 1


def test_what_was_taught_may_be_declared_anew(copy: Path, declared: Path) -> None:
    first = open_bundle(copy)
    second = upgrade_bundle(copy, declared)
    assert second.manifest.taught == Taught((TaughtPart("gear", colors=("grey",)),), report=True, tools_at_once=30)
    assert second.manifest.rounds == 2
    declared.write_text("")
    third = upgrade_bundle(copy, declared)
    assert (third.manifest.taught, third.manifest.rounds) == (Taught(), 4)
    assert third.manifest.supersedes == (first.sha256, second.sha256)


def test_what_cannot_be_upgraded_is_left(copy: Path, declared: Path, tmp_path: Path) -> None:
    (copy / "decoder.data").unlink()
    with pytest.raises(BundleDamaged, match=r"decoder\.data is missing"):
        upgrade_bundle(copy, declared)
    for version in (1, 5):
        edit_manifest(copy, partial(dict.update, format_version=version))
        before = (copy / MANIFEST).read_bytes()
        with pytest.raises(BundleFormat, match=f"is format {version}"):
            upgrade_bundle(copy, declared)
        assert (copy / MANIFEST).read_bytes() == before
    with pytest.raises(BundleFormat, match="a bundle folder"):
        upgrade_bundle(tmp_path / "nothing")


def test_a_bundle_that_cannot_be_written_stays_as_it_is(
    copy: Path, declared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (copy / MANIFEST).read_bytes()

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("lineside.runtime.upgrade.os.replace", refuse)
    with pytest.raises(BundleNotWritten, match=r"bundle\.json cannot be written \(Permission denied\): copy"):
        upgrade_bundle(copy, declared)
    assert (copy / MANIFEST).read_bytes() == before
    assert not list(copy.glob("*.partial"))


def test_it_needs_nothing_of_the_export_extra() -> None:
    blocked = "; ".join(f"sys.modules[{name!r}] = None" for name in ("onnx", "onnxruntime", "gguf", "safetensors"))
    program = f"import sys; {blocked}; from lineside.runtime.upgrade import upgrade_bundle"
    subprocess.run([sys.executable, "-c", program], check=True)
