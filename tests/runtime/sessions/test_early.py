"""A small decoder loads while its manifest is read, and what is wrong with a bundle is told as without that."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from lineside.runtime.bundle import open_bundle
from lineside.runtime.engine.engine import Engine
from lineside.runtime.errors import BundleDamaged, BundleFormat
from lineside.runtime.sessions import early
from lineside.runtime.sessions.early import Early, begin_loading
from lineside.runtime.sessions.ort import OrtDecoder, open_cpu


@pytest.fixture
def copy(random_bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(random_bundle, tmp_path / "bundle"))


def test_what_was_loaded_early_is_used(random_bundle: Path) -> None:
    loading = begin_loading(random_bundle, 1)
    assert loading is not None
    _, decoder = open_cpu(open_bundle(random_bundle), 1, loading.session)
    assert decoder._session is loading.session.result()


def test_an_engine_loads_early(random_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = []

    def recorded(path: Path, threads: int) -> Early:
        loading = begin_loading(path, threads)
        assert loading is not None
        begun.append(loading)
        return loading

    monkeypatch.setattr("lineside.runtime.engine.engine.begin_loading", recorded)
    decoder = Engine.open(random_bundle, threads=1).decoder
    assert isinstance(decoder, OrtDecoder)
    assert decoder._session is begun[0].session.result()


def test_what_was_loaded_of_another_bundle_is_not_used(random_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder was replaced in between."""
    begun = []

    def replaced(path: Path, threads: int) -> Early:
        loading = begin_loading(path, threads)
        assert loading is not None
        begun.append(loading)
        return Early("of the one before", loading.session)

    monkeypatch.setattr("lineside.runtime.engine.engine.begin_loading", replaced)
    decoder = Engine.open(random_bundle, threads=1).decoder
    assert isinstance(decoder, OrtDecoder)
    assert decoder._session is not begun[0].session.result()


def test_a_large_decoder_waits_for_its_manifest(random_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(early, "MOST_BYTES", 1000)
    assert begin_loading(random_bundle, 1) is None


@pytest.mark.parametrize("name", ["decoder.data", "decoder.onnx"])
def test_a_file_that_was_cut_is_not_loaded(copy: Path, name: str) -> None:
    """Its weights are mapped into memory: reading behind their end would end the process."""
    path = copy / name
    path.write_bytes(path.read_bytes()[:-100])
    assert begin_loading(copy, 1) is None
    with pytest.raises(BundleDamaged, match=f"{name} has .* bytes instead of"):
        Engine.open(copy, threads=1)


@pytest.mark.parametrize("manifest", ["", "[]", "{}", '{"files": 7}', '{"files": {"decoder.onnx": 7}}', "[" * 100_000])
def test_a_manifest_that_is_none_is_told_by_who_reads_it(copy: Path, manifest: str) -> None:
    (copy / "bundle.json").write_text(manifest)
    assert begin_loading(copy, 1) is None
    with pytest.raises(BundleFormat):
        Engine.open(copy, threads=1)


def test_a_graph_that_is_damaged_is_told(copy: Path) -> None:
    graph = copy / "decoder.onnx"
    graph.write_bytes(bytes(graph.stat().st_size))
    with pytest.raises(BundleDamaged, match="is damaged"):
        Engine.open(copy, threads=1)
