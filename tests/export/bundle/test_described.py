"""What an exported bundle says of its model: what it was taught, and how its weights were rounded."""

from __future__ import annotations

from pathlib import Path

import pytest

from lineside.export.bundle.options import ExportOptions
from lineside.export.bundle.plan import PRECISIONS
from lineside.export.bundle.writer import export_bundle
from lineside.export.command import export_command
from lineside.runtime.bundle import open_bundle, read_manifest
from lineside.runtime.manifest import Quantizer, Taught, TaughtPart
from tests.support.checkpoints import copy_checkpoint
from tests.support.gguf_files import write_gguf

INT4 = Quantizer("gptq", 4, 32, symmetric=True, calibration="lineside-1", scales="float16")
TABLE = Quantizer("minimum-squared-error", 4, 32, symmetric=True, scales="float16")
INT8 = Quantizer("largest-magnitude", 8, 32, symmetric=True, scales="float16")
FLOATS = Quantizer("none", 32)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return copy_checkpoint("grouped", tmp_path)


def test_a_bundle_declares_no_bounds_where_none_are_given(checkpoint: Path, tmp_path: Path) -> None:
    manifest = open_bundle(export_bundle(checkpoint, tmp_path / "bundle")).manifest
    assert (manifest.format_version, manifest.rounds, manifest.taught) == (4, 4, Taught())
    assert manifest.supersedes == ()
    assert manifest.quantizer == {"vision": (INT8, FLOATS), "decoder": (INT4,), "embedding": (TABLE,), "head": (INT4,)}
    assert (
        manifest.quantization["vision"] == "float32+int8"
    )  # a patch has 3 * 14 * 14 values, which no blocks of 32 hold


def test_floats_are_not_rounded(checkpoint: Path, tmp_path: Path) -> None:
    bundle = export_bundle(checkpoint, tmp_path / "bundle", ExportOptions(PRECISIONS["float32"]))
    assert set(read_manifest(bundle).quantizer.values()) == {(FLOATS,)}


def test_a_gguf_file_s_matrices_are_carried_over(tmp_path: Path) -> None:
    kinds = {"attn_v": "Q6_K", "attn_q": "Q4_K", "attn_k": "Q4_K", "token_embd": "Q4_K"}
    manifest = read_manifest(export_bundle(write_gguf(tmp_path, kinds, tied=True).path, tmp_path / "b"))
    carried = {
        Quantizer("carried-over", 4, 32, symmetric=False, scales="float32"),
        Quantizer("carried-over", 8, 16, symmetric=True, scales="float32"),
        Quantizer("carried-over", 8, 32, symmetric=True, scales="float16"),
    }
    assert set(manifest.quantizer["decoder"]) == carried
    assert manifest.quantizer["embedding"] == (INT8,)  # its minima cannot be kept


def test_the_command_takes_a_declaration(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    taught = tmp_path / "taught.toml"
    taught.write_text('round = 2\n[[parts]]\nname = "gear"')
    assert export_command(checkpoint, tmp_path / "bundle", None, {"taught": taught}) == 1
    assert "taught.toml: unknown key `round`" in capsys.readouterr().err
    taught.write_text('rounds = 2\n[[parts]]\nname = "gear"')
    assert export_command(checkpoint, tmp_path / "bundle", None, {"taught": taught}) == 0
    manifest = read_manifest(tmp_path / "bundle")
    assert (manifest.taught, manifest.rounds) == (Taught(parts=(TaughtPart("gear"),)), 2)
