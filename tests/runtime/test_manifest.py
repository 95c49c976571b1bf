"""What `bundle.json` may say, in both formats, and what is refused in one sentence."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lineside.runtime.bundle import open_bundle, read_manifest
from lineside.runtime.defaults import DEFAULT_BUNDLE
from lineside.runtime.errors import BundleFormat
from lineside.runtime.manifest import FORMAT_VERSION, MANIFEST, Quantizer, Taught, TaughtPart, parse_manifest
from tests.support.bundles import as_format_2, copy_bundle, edit_manifest, without_scales

Change = Callable[[dict[str, Any]], object]


@pytest.fixture
def copy(random_bundle: Path, tmp_path: Path) -> Path:
    return copy_bundle(random_bundle, tmp_path / "bundle")


def test_the_default_model_says_what_it_was_taught() -> None:
    manifest = read_manifest(DEFAULT_BUNDLE)
    assert (manifest.format_version, manifest.rounds, manifest.prompt_template) == (FORMAT_VERSION, 1, "lineside/1")
    screw, board = manifest.taught.parts or ()
    assert screw == TaughtPart("ball screw", ("pitting",), ("color",), ("without",))
    assert (board.name, board.colors, board.reference) == ("circuit board", ("grey",), ("with",))
    assert (manifest.taught.report, manifest.taught.conversation) == (False, False)
    assert manifest.quantizer["decoder"] == (Quantizer("minimum-squared-error", 4, 32, symmetric=True),)


def test_what_is_written_is_read_again(copy: Path) -> None:
    manifest = read_manifest(DEFAULT_BUNDLE)
    assert parse_manifest(manifest.to_json().encode(), copy / MANIFEST) == manifest


def test_format_2_is_read_with_what_is_known_of_it(copy: Path) -> None:
    written = open_bundle(copy).manifest
    bundle = as_format_2(copy)
    manifest = bundle.manifest
    assert bundle.sha256 == hashlib.sha256((copy / MANIFEST).read_bytes()).hexdigest()
    assert (manifest.format_version, manifest.rounds, manifest.prompt_template) == (2, 4, "lineside/1")
    assert (manifest.taught, manifest.supersedes) == (Taught(), ())
    assert manifest.quantizer == without_scales(written.quantizer)


@pytest.mark.parametrize(
    ("flat", "parts"),
    [
        ({}, None),
        ({"parts": ["gear"]}, (TaughtPart("gear"),)),
        (
            {"parts": ["gear", "nut"], "defect_types": ["crack"], "colors": ["grey"], "reference": True},
            tuple(TaughtPart(name, ("crack",), ("grey",), ("with", "without")) for name in ("gear", "nut")),
        ),
        ({"colors": ["grey"], "reference": False}, (TaughtPart(None, None, ("grey",), ("without",)),)),
    ],
)
def test_format_3_has_one_list_for_all_parts(
    copy: Path, flat: dict[str, Any], parts: tuple[TaughtPart, ...] | None
) -> None:
    edit_manifest(copy, lambda manifest: manifest.update(format_version=3, taught={**flat, "report": False}))
    assert open_bundle(copy).manifest.taught == Taught(parts, report=False)


def test_a_bundle_of_format_2_may_lack_what_came_late_to_it(copy: Path) -> None:
    as_format_2(copy)
    edit_manifest(copy, lambda manifest: [manifest.pop(key) for key in ("verbatim_arguments", "any_way_up")])
    assert not open_bundle(copy).manifest.any_way_up


def test_format_2_does_not_say_how_a_gguf_file_was_rounded(copy: Path) -> None:
    as_format_2(copy)
    kinds = {"decoder": "int4+int8", "embedding": "float32"}
    edit_manifest(copy, lambda manifest: manifest.update(architecture="llama", quantization=kinds))
    assert open_bundle(copy).manifest.quantizer == {
        "decoder": (Quantizer("unknown", 4), Quantizer("unknown", 8)),
        "embedding": (Quantizer("none", 32),),
    }


@pytest.mark.parametrize(
    ("version", "advice"), [(5, "update Lineside"), (99, "update Lineside"), (1, "export the checkpoint again")]
)
def test_another_format_is_refused_in_one_sentence(copy: Path, version: int, advice: str) -> None:
    edit_manifest(copy, lambda manifest: manifest.update(format_version=version))
    with pytest.raises(BundleFormat) as caught:
        open_bundle(copy)
    assert str(caught.value) == f"{copy / MANIFEST} is format {version}, this Lineside reads 2 to 4: {advice}"


def test_prompts_that_are_not_known_are_refused(copy: Path) -> None:
    edit_manifest(copy, lambda manifest: manifest.update(prompt_template="lineside/2"))
    with pytest.raises(BundleFormat, match="was taught the prompts 'lineside/2', this Lineside writes 'lineside/1'"):
        open_bundle(copy)


@pytest.mark.parametrize(
    ("change", "key"),
    [
        (lambda m: m.update(rounds="4"), "rounds"),
        (lambda m: m.update(rounds=0), "rounds"),
        (lambda m: m.update(rounds=True), "rounds"),
        (lambda m: m.pop("rounds"), "rounds"),
        (lambda m: m.pop("supersedes"), "supersedes"),
        (lambda m: m.update(supersedes=["5810ce"]), r"supersedes\.0"),
        (lambda m: m.update(taught=None), "taught"),
        (lambda m: m["taught"].update(parts="ball screw"), r"taught\.parts"),
        (lambda m: m["taught"].update(parts=[{"colors": ["red"]}]), r"taught\.parts\.0\.colors\.0"),
        (lambda m: m["taught"].update(parts=[{"reference": True}]), r"taught\.parts\.0\.reference"),
        (lambda m: m["taught"].update(languages=["English, German"]), r"taught\.languages\.0"),
        (lambda m: m["taught"].update(tools_at_once=0), r"taught\.tools_at_once"),
        (lambda m: m["quantizer"].update(decoder=[{"method": 4, "bits": 4}]), r"quantizer\.decoder\.0\.method"),
        (lambda m: m["kv"].update(head_dim="16"), r"kv\.head_dim"),
        (lambda m: m["files"].update(x={"bytes": 1}), r"files\.x\.sha256"),
        (lambda m: m.update(vocab_size=None), "vocab_size"),
    ],
)
def test_a_key_of_another_type_is_named(copy: Path, change: Change, key: str) -> None:
    edit_manifest(copy, change)
    with pytest.raises(BundleFormat, match=rf"bundle\.json is not a bundle manifest: `{key}`: "):
        open_bundle(copy)


@pytest.mark.parametrize("text", ["", "[]", "{}", "\xff", '{"format_version": "3"}', "[" * 100_000])
def test_what_is_no_manifest_is_named(copy: Path, text: str) -> None:
    (copy / MANIFEST).write_text(text, encoding="latin-1")
    with pytest.raises(BundleFormat, match=r"bundle\.json is not a bundle manifest"):
        open_bundle(copy)


def test_a_bundle_answers_to_those_that_it_was_upgraded_from(copy: Path) -> None:
    older = ["0" * 64, "1" * 64]
    edit_manifest(copy, lambda manifest: manifest.update(supersedes=older))
    bundle = open_bundle(copy)
    assert all(bundle.answers_to(sha256) for sha256 in (bundle.sha256, *older))
    assert not bundle.answers_to("2" * 64)
    assert json.loads(bundle.manifest.to_json())["supersedes"] == older
