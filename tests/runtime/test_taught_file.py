"""The file that says what a model was taught: mistakes are named."""

from __future__ import annotations

from pathlib import Path

import pytest

from lineside.runtime.bundle import read_manifest
from lineside.runtime.defaults import DEFAULT_BUNDLE
from lineside.runtime.errors import BundleFormat, DeclarationError
from lineside.runtime.manifest import Taught, TaughtPart
from lineside.runtime.taught_file import Declaration, read_taught
from tests.conftest import ROOT


def write(folder: Path, text: str) -> Path:
    path = folder / "taught.toml"
    path.write_text(text)
    return path


def test_an_empty_file_bounds_nothing(tmp_path: Path) -> None:
    assert read_taught(write(tmp_path, "")) == Declaration(Taught(), 4, "lineside/1")


def test_every_key_is_taken(tmp_path: Path) -> None:
    text = """
        report = true
        languages = ["en", "pt-BR"]
        tools_at_once = 30
        conversation = true
        describes_pictures = false
        rounds = 6
        prompt_template = "lineside/1"
        [[parts]]
        name = "gear"
        defect_types = ["crack"]
        colors = ["color", "grey"]
        reference = ["without"]
    """
    gear = TaughtPart("gear", ("crack",), ("color", "grey"), ("without",))
    taught = Taught((gear,), True, ("en", "pt-BR"), 30, True, False)
    assert read_taught(write(tmp_path, text)) == Declaration(taught, 6, "lineside/1")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("colours = ['grey']", "unknown key `colours`; known: conversation"),
        ("[taught]\nparts = []", "unknown key `taught`"),
        ("parts = 'gear'", "`parts`: "),
        ("[[parts]]\ncolors = ['red']", r"`parts\.0\.colors\.0`: "),
        ("[[parts]]\ncolour = 'red'", r"`parts\.0\.colour`: "),
        ("report = 'yes'", "`report`: "),
        ("rounds = 0", "`rounds`: "),
        ("tools_at_once = 1.5", "`tools_at_once`: "),
        ("languages = ['English, German']", r"`languages\.0`: "),
        ("parts = ", "is not TOML"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DeclarationError, match=rf"taught\.toml:? ?.*{message}"):
        read_taught(write(tmp_path, text))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DeclarationError, match=r"none\.toml cannot be read"):
        read_taught(tmp_path / "none.toml")


def test_prompts_that_are_not_known_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleFormat, match=r"taught\.toml: the model was taught the prompts 'mine/7'"):
        read_taught(write(tmp_path, "prompt_template = 'mine/7'"))


def test_the_default_model_says_what_its_recipe_declares() -> None:
    manifest = read_manifest(DEFAULT_BUNDLE)
    declared = read_taught(ROOT / "export/default_model/taught.toml")
    assert declared == Declaration(manifest.taught, manifest.rounds, manifest.prompt_template)
