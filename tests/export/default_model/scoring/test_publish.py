"""A scored bundle goes into the package with its card."""

from __future__ import annotations

from pathlib import Path

from lineside.export.default_model.scoring.publish import publish
from lineside.runtime.bundle import open_bundle
from tests.support.bundles import as_format_2, copy_bundle


def test_a_new_card_alone_leaves_what_was_learnt_valid(random_bundle: Path, tmp_path: Path) -> None:
    path = copy_bundle(random_bundle, tmp_path / "bundle")
    before = as_format_2(path)
    publish(path, "A new card.", path)
    after = open_bundle(path)
    assert after.file("model_card.md").read_text() == "A new card."
    assert after.manifest.format_version == 4
    assert after.sha256 != before.sha256
    assert after.answers_to(before.sha256)


def test_another_model_takes_the_place_of_the_one_before(random_bundle: Path, tmp_path: Path) -> None:
    old = copy_bundle(random_bundle, tmp_path / "old")
    before = as_format_2(old)
    publish(random_bundle, "Another model.", old)
    assert not open_bundle(old).answers_to(before.sha256)
