"""TensorRT engines, built by TensorRT for RTX: no GPU is needed for that, nor is one used here."""

from __future__ import annotations

import dataclasses
import json
import logging
import math
import shutil
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lineside.export.bundle.writer import export_bundle
from lineside.export.check.synthetic import MISTRAL_SMALL, write_synthetic
from lineside.export.engine.build import Profile, build_engine
from lineside.export.engine.engines import _build, build_engines, engine_parts
from lineside.export.engine.kept import take_over
from lineside.export.engine.library import Library, check_target, choose_library, load_library
from lineside.export.errors import EngineBuildFailed
from lineside.export.exported import Exported
from lineside.export.graph.standard_graphs import save_graph
from lineside.export.graph.writer import GraphWriter
from lineside.export.network.config import DecoderConfig
from lineside.runtime.bundle import Bundle, file_sha256, open_bundle
from lineside.runtime.errors import DeviceUnusable, EnginesUnusable
from lineside.runtime.manifest import FileEntry
from lineside.runtime.sessions.tensorrt.engine_files import engine_bytes, find_engines, folder_name
from lineside.runtime.sessions.tensorrt.session import DECODE, PREFILL
from tests.support.checkpoints import copy_checkpoint
from tests.support.layers import Layer, layers_of
from tests.support.tokenizers import write_small_tokenizer

TARGETS = ("sm80", "sm86", "sm89", "sm120", "sm121")
SMALL_CACHE, LARGE_CACHE = 64, 1024


@pytest.fixture(scope="module")
def library() -> Library:
    return load_library()


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small bundle with engines for one target."""
    folder = tmp_path_factory.mktemp("engine")
    bundle = export_bundle(copy_checkpoint("grouped", folder), folder / "bundle")
    build_engines(bundle, "sm89", cache_lengths=(SMALL_CACHE, 2 * SMALL_CACHE))
    return bundle


@pytest.fixture
def bundle(built: Path, tmp_path: Path) -> Bundle:
    """A copy to damage."""
    return open_bundle(Path(shutil.copytree(built, tmp_path / "copy")))


@dataclass(frozen=True)
class Large:
    graph: GraphWriter
    path: Path
    profiles: list[Profile]


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Large:
    """One decoder layer of Mistral Small 3.2, with random weights."""
    folder = tmp_path_factory.mktemp("large")
    write_small_tokenizer(folder / "tekken.json")
    network = dataclasses.replace(MISTRAL_SMALL, vision=None)
    bundle = write_synthetic(folder / "bundle", network, folder / "tekken.json", layers=1)
    ((graph, profiles),) = engine_parts(Exported(open_bundle(bundle)), (LARGE_CACHE,))
    return Large(graph, save_graph(graph, folder), profiles)


def test_the_library_builds_for_every_gpu_that_the_readme_names(library: Library) -> None:
    assert library.targets == TARGETS


@pytest.mark.parametrize("target", TARGETS)
def test_a_small_bundle_for_every_target(built: Path, target: str, tmp_path: Path) -> None:
    copy = open_bundle(Path(shutil.copytree(built, tmp_path / "copy", ignore=shutil.ignore_patterns("engines"))))
    folder = build_engines(copy.path, target, cache_lengths=(SMALL_CACHE,))
    name, version = folder.name.removeprefix(f"{target}-").split("-", 1)
    found, engines = find_engines(copy, target, name, version)
    assert found == folder
    assert sorted(engines.files) == ["decoder.64.engine", "vision.engine"]
    assert engines.cache_lengths == (SMALL_CACHE,)


def test_a_layer_of_the_24b(large: Large, library: Library, caplog: pytest.LogCaptureFixture) -> None:
    """For one target: it takes most of a minute, and the small bundle is built for all of them."""
    with caplog.at_level(logging.DEBUG, "lineside.tensorrt"):
        plan = build_engine(library, large.path, large.graph.input_shapes(), large.profiles, "sm89")
    weights = large.graph.plan.size_bytes
    assert 0.8 * weights < plan.nbytes < 1.2 * weights
    _check_decoder(layers_of(caplog.messages), MISTRAL_SMALL.decoder, LARGE_CACHE, num_layers=1, head=False)


def test_the_layers_of_a_small_bundle(built: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    exported, library = Exported(open_bundle(built)), load_library()
    tower, decoder = engine_parts(exported, (SMALL_CACHE,))
    for graph, profiles in (decoder, tower):
        caplog.clear()
        with caplog.at_level(logging.DEBUG, "lineside.tensorrt"):
            build_engine(library, save_graph(graph, tmp_path), graph.input_shapes(), profiles, "sm89")
        layers = layers_of(caplog.messages)
        if graph is decoder[0]:
            config = exported.network.decoder
            _check_decoder(layers, config, SMALL_CACHE, config.num_hidden_layers, head=True)
        else:
            assert exported.network.vision is not None
            assert _attentions(layers) == exported.network.vision.num_hidden_layers


def _attentions(layers: list[Layer]) -> int:
    return sum("mha" in layer.name and "Attention" in layer.metadata for layer in layers)


def _check_decoder(
    layers: list[Layer], config: DecoderConfig, cache_length: int, num_layers: int, *, head: bool
) -> None:
    """What TensorRT made of a decoder, for each of its two profiles. `head`: whether its head has 4 bits."""
    hidden, inner, size = config.hidden_size, config.intermediate_size, config.head_dim
    heads, kv = config.num_attention_heads, config.num_key_value_heads
    matrices = [
        (hidden, (heads + 2 * kv) * size), (heads * size, hidden), (hidden, 2 * inner), (inner, hidden),
    ] * num_layers  # fmt: skip
    matrices += [(hidden, config.vocab_size)] * head
    cache = (1, kv, cache_length, size)
    for profile in (DECODE, PREFILL):
        own = [layer for layer in layers if layer.profile == profile]
        rounded = [(layer, tensor) for layer in own for tensor in layer.constants if tensor.dtype == "Int4"]
        shapes = sorted(tuple(n for n in tensor.shape if n != 1) for _, tensor in rounded)
        assert shapes == sorted(matrices), "every matrix is in the engine once, in INT4"
        for layer, _ in rounded:
            assert layer.inputs, "and is multiplied where it is unpacked"
        assert _attentions(own) == num_layers
        names = [f"present.{i}.{part}" for i in range(num_layers) for part in ("key", "value")]
        updated = [
            tensor
            for layer in own
            for tensor in layer.outputs
            if tensor.name.startswith("present.") and tensor in layer.inputs
        ]
        assert sorted(tensor.name for tensor in updated) == sorted(names), "every cache is updated in place, once"
        assert {tensor.shape for tensor in updated} == {cache}
        largest = max(tensor.size for layer in own for tensor in layer.outputs)
        assert largest <= math.prod(cache), "nobody copies the cache for every query head, nor unpacks a matrix"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_measurements_of_kernels_are_kept(
    bundle: Bundle, library: Library, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """For whichever engine is built next. TensorRT for RTX, which needs no such file, stands in for TensorRT."""
    native = dataclasses.replace(library, name="tensorrt", targets=())
    monkeypatch.setattr("lineside.export.engine.engines.choose_library", lambda *_: native)
    name = f"sm89-tensorrt-{library.version}-nvidia-l4"
    timings = bundle.path / "engines" / f"{name}.timings"
    for damage in (None, b"not a timing cache"):
        if damage is not None:
            timings.write_bytes(damage)
        with caplog.at_level(logging.DEBUG, "lineside.tensorrt"):
            folder = build_engines(bundle.path, "sm89", cache_lengths=(SMALL_CACHE,), present="sm89", gpu="NVIDIA L4")
        assert folder.name == name
        assert not any("Local timing cache in use" in message for message in caplog.messages)
        assert b"ptrt" in timings.read_bytes()
        assert sorted(path.name for path in folder.iterdir()) == ["decoder.64.engine", "engines.json", "vision.engine"]
        assert find_engines(bundle, "sm89", "tensorrt", library.version, "NVIDIA L4")[1].gpu == "NVIDIA L4"
        with pytest.raises(EnginesUnusable, match="there are engines for sm89-tensorrt"):
            find_engines(bundle, "sm89", "tensorrt", library.version, "NVIDIA GeForce RTX 4090")
        if damage is None:
            shutil.rmtree(folder)
    renamed = folder.rename(folder.with_name(f"sm89-tensorrt-{library.version}"))
    with pytest.raises(EnginesUnusable, match=f"{renamed} was measured on NVIDIA L4, this is NVIDIA L40"):
        find_engines(bundle, "sm89", "tensorrt", library.version, "NVIDIA L40")
    assert any("Failed to deserialize timing cache" in message for message in caplog.messages)


def test_a_broken_off_build_goes_on(built: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(built, tmp_path / "copy", ignore=shutil.ignore_patterns("engines")))

    partial = copy / "engines" / f"{next((built / 'engines').iterdir()).name}.partial"

    def stop(*_: object) -> None:
        if (partial / "vision.engine").exists():
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        build_engines(copy, "sm89", cache_lengths=(SMALL_CACHE,), progress=stop)
    finished = (partial / "vision.engine").stat().st_mtime_ns
    folder = build_engines(copy, "sm89", cache_lengths=(SMALL_CACHE,))
    assert (folder / "vision.engine").stat().st_mtime_ns == finished
    assert sorted(path.name for path in folder.iterdir()) == ["decoder.64.engine", "engines.json", "vision.engine"]
    assert not partial.exists()


def test_what_is_built_is_not_built_again(
    built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, library: Library
) -> None:
    """The same lengths cost nothing, a new one its engine, an old one nothing again; a damaged file is not taken."""
    copy = open_bundle(Path(shutil.copytree(built, tmp_path / "copy")))
    graphs: list[str] = []

    def counted(*arguments: Any) -> None:
        graphs.append(arguments[1].name)
        _build(*arguments)

    monkeypatch.setattr("lineside.export.engine.engines._build", counted)

    def build(*lengths: int) -> list[str]:
        graphs.clear()
        build_engines(copy.path, "sm89", cache_lengths=lengths)
        engines = find_engines(copy, "sm89", library.name, library.version)[1]
        assert sorted(engines.cache_lengths) == sorted(lengths)
        assert engine_bytes(copy, "sm89") == sum(entry.bytes for entry in engines.used_files().values())
        return graphs

    both = engine_bytes(copy, "sm89")
    assert build(2 * SMALL_CACHE, SMALL_CACHE) == []
    folder = copy.path / "engines" / folder_name("sm89", library.name, library.version)
    (folder / "decoder.128.kernels").write_bytes(b"compiled")
    assert build(SMALL_CACHE) == []
    assert engine_bytes(copy, "sm89") < both
    assert build(SMALL_CACHE, 96) == ["decoder.96"]
    assert build(2 * SMALL_CACHE) == []
    assert (folder / "decoder.128.kernels").read_bytes() == b"compiled"
    other = folder / "decoder.96.engine"
    other.unlink()  # not through the link to the file of before
    other.write_bytes(b"damaged")
    assert build(96) == ["decoder.96"]


def test_the_library_that_builds_for_a_target_is_taken(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    """TensorRT itself where it can, for it measures; the one for RTX for GPUs that are not there."""
    monkeypatch.setitem(sys.modules, "tensorrt", SimpleNamespace(__version__="10.13"))
    assert choose_library("sm90", present="sm90").name == "tensorrt"
    assert choose_library("sm89", present="sm89").name == "tensorrt"
    assert choose_library("sm89", present="sm90") == library
    assert choose_library("sm89") == library
    said = "tensorrt 10.13 does not build for sm90; .*; tensorrt_rtx .* does not build for sm90"
    with pytest.raises(EngineBuildFailed, match=said):
        choose_library("sm90")


@pytest.mark.parametrize(("target", "board"), [("sm87", "Jetson Orin"), ("sm110", "Jetson Thor")])
def test_a_jetson_builds_its_own_engines(target: str, board: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """TensorRT for RTX, which is installed here, has neither; JetPack's own has the operators from 10.15 on."""
    with pytest.raises(EngineBuildFailed, match=f"{target} is {board}, .* built on the board: .*docs/jetson.md"):
        choose_library(target, present="sm89")
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(DeviceUnusable, match=f"on this {board}: it comes with JetPack"):
        choose_library(target, present=target)
    monkeypatch.setitem(sys.modules, "tensorrt", SimpleNamespace(__version__="10.13.3.9"))
    with pytest.raises(EngineBuildFailed, match=r"tensorrt 10\.13\.3\.9 cannot read the graphs: .* JetPack 7\.2"):
        choose_library(target, present=target)
    monkeypatch.setitem(sys.modules, "tensorrt", SimpleNamespace(__version__="10.16.1.11"))
    assert choose_library(target, present=target).version == "10.16.1.11"


def _unusable(bundle: Bundle, target: str = "sm89", version: str = "") -> str:
    folder = next((bundle.path / "engines").iterdir())
    _, name, own = folder.name.split("-", 2)
    with pytest.raises(EnginesUnusable) as caught:
        find_engines(bundle, target, name, version or own)
    assert f"`lineside engine {bundle.path} --target {target}`" in str(caught.value)
    return str(caught.value)


def test_engines_for_another_gpu_or_version_are_named(bundle: Bundle) -> None:
    assert "there are engines for sm89-" in _unusable(bundle, target="sm120")
    assert "there are engines for sm89-" in _unusable(bundle, version="99.0")
    folder = next((bundle.path / "engines").iterdir())
    folder.rename(folder.with_name(folder.name.replace("sm89", "sm120")))
    assert "was built for sm89" in _unusable(bundle, target="sm120")


def test_a_truncated_engine_is_found(bundle: Bundle) -> None:
    file = next((bundle.path / "engines").glob("*/decoder.64.engine"))
    file.write_bytes(file.read_bytes()[:-100])
    assert "decoder.64.engine is missing, cut off or damaged" in _unusable(bundle)


def test_an_engine_with_a_flipped_bit_is_found(bundle: Bundle) -> None:
    file = next((bundle.path / "engines").glob("*/vision.engine"))
    raw = bytearray(file.read_bytes())
    raw[len(raw) // 2] ^= 1
    file.write_bytes(raw)
    assert "damaged" in _unusable(bundle)


def test_engines_of_another_bundle_are_refused(bundle: Bundle) -> None:
    assert "from another bundle" in _unusable(dataclasses.replace(bundle, sha256="0" * 64))


def test_engines_with_other_inputs_and_outputs_are_refused(bundle: Bundle) -> None:
    listing = next((bundle.path / "engines").glob("*/engines.json"))
    fields = json.loads(listing.read_text())
    del fields["format"]
    listing.write_text(json.dumps(fields))
    assert "was built by another version of Lineside" in _unusable(bundle)


def test_a_list_of_engines_that_is_no_json(bundle: Bundle) -> None:
    listing = next((bundle.path / "engines").glob("*/engines.json"))
    listing.write_text(json.dumps({"target": "sm89"}))
    assert "cannot be read" in _unusable(bundle)


@pytest.mark.parametrize("target", ["sm75", "sm90", "rtx4090"])
def test_a_target_that_the_library_does_not_know(built: Path, target: str) -> None:
    said = "it builds for sm80, sm86, sm89, sm120, sm121; for any other GPU install `tensorrt` on its machine"
    with pytest.raises(EngineBuildFailed, match=said):
        build_engines(built, target)


def test_tensorrt_itself_builds_for_the_gpu_that_is_there(library: Library) -> None:
    native = dataclasses.replace(library, name="tensorrt", targets=())
    check_target(native, "sm89", present="sm89")
    with pytest.raises(EngineBuildFailed, match="does not build for sm86; it builds for sm89"):
        check_target(native, "sm86", present="sm89")
    with pytest.raises(EngineBuildFailed, match="and there is none"):
        check_target(native, "sm86")


@pytest.mark.parametrize("length", [16, 100_000])
def test_a_cache_that_the_context_does_not_allow(built: Path, length: int) -> None:
    with pytest.raises(EngineBuildFailed, match=f"a cache of {length} tokens: the context has 33 to 1024"):
        build_engines(built, "sm89", cache_lengths=(length,))


def test_without_tensorrt_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("tensorrt", "tensorrt_rtx"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(DeviceUnusable, match=r"pip install 'lineside\[tensorrt\]'"):
        choose_library("sm89")


def test_what_a_broken_off_build_took_over_is_listed(tmp_path: Path) -> None:
    """Taken over once more by the next one; what it built anew is its own."""
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    target.mkdir()
    for name in ("vision.engine", "decoder.64.engine", "decoder.128.engine"):
        (source / name).write_bytes(name.encode())
    files = {file.name: FileEntry(file.stat().st_size, file_sha256(file)) for file in source.iterdir()}
    (target / "decoder.64.engine").write_bytes(b"built anew")
    for _ in range(2):
        assert take_over(files, source, target).keys() == {"vision.engine", "decoder.128.engine"}
        assert (target / "decoder.64.engine").read_bytes() == b"built anew"
        assert (target / "vision.engine").read_bytes() == b"vision.engine"
