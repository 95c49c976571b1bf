"""The `standard` dialect on ONNX Runtime's CPU kernels against the `ort` dialect, from the same integers."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import pytest

from lineside.export.bundle.options import ExportOptions
from lineside.export.bundle.plan import PRECISIONS
from lineside.export.bundle.writer import export_bundle
from lineside.export.errors import Unsupported
from lineside.export.exported import Exported, Rounded
from lineside.export.graph.standard import pack, positive, positive_scales
from lineside.export.graph.standard_graphs import decoder_graph, save_graph, vision_graph
from lineside.runtime.bundle import open_bundle
from lineside.runtime.manifest import ImageSettings, Manifest
from lineside.runtime.patches import to_patches
from lineside.runtime.sessions.ort import OrtDecoder, OrtVision
from lineside.runtime.sessions.selftest import relative_error
from tests.golden.family import MEMBERS
from tests.support.checkpoints import CASES, copy_checkpoint
from tests.support.gguf_files import write_gguf
from tests.support.parity import member_folder
from tests.support.standard import exact_session

EXACT = dataclasses.replace(PRECISIONS["int4"], accuracy_level=0)
TOLERANCE, HALF_TOLERANCE = 1e-4, 1e-2
BUCKETS = (64, 96, 256)
PROMPT, STEPS = 30, 32
HIDDEN = {"float32": -1e9, "float16": -6e4}


class StandardDecoder:
    """The graph with its cache, run as a TensorRT session would."""

    def __init__(self, path: Path, manifest: Manifest, length: int, dtype: str = "float32") -> None:
        self._session, self._length = exact_session(path), length
        kv = manifest.kv
        shape = (1, kv.num_key_value_heads, length, kv.head_dim)
        names = [f"{layer}.{part}" for layer in range(kv.num_hidden_layers) for part in ("key", "value")]
        self._cache = {name: np.zeros(shape, dtype) for name in names}
        self._no_image = {"image_embeds": np.zeros((1, manifest.hidden_size), dtype)} if manifest.image else {}
        self._dtype, self._hidden = dtype, HIDDEN[dtype]

    def run(
        self, ids: Sequence[int], past: int, images: npt.NDArray[np.float32] | None = None
    ) -> npt.NDArray[np.float32]:
        """Logits of every position."""
        count = len(ids)
        places = past + np.arange(count)
        seen = np.arange(self._length) <= places[:, None]
        feed = {
            "ids": np.asarray([ids], np.int64),
            "rows": np.arange(count),
            "positions": places[None],
            "write_index": np.asarray([past]),
            "mask": np.where(seen, 0, self._hidden).astype(self._dtype)[None, None],
            **(self._no_image if images is None else {"image_embeds": images}),
            **{f"past.{name}": array for name, array in self._cache.items()},
        }
        outputs = self._session.run(["logits", *(f"present.{name}" for name in self._cache)], feed)
        self._cache = dict(zip(self._cache, outputs[1:], strict=True))
        logits: npt.NDArray[np.float32] = outputs[0]
        return logits


@pytest.fixture(scope="module", params=(*CASES, "ministral3", "pixtral"))
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    folder = tmp_path_factory.mktemp("standard")
    family = request.param in MEMBERS
    checkpoint = member_folder(request.param, folder / "m") if family else copy_checkpoint(request.param, folder)
    return Exported(open_bundle(export_bundle(checkpoint, folder / "bundle", ExportOptions(EXACT))))


@pytest.mark.parametrize("length", BUCKETS)
@pytest.mark.parametrize("chunk", [PROMPT, 7])
def test_prefill_and_decode_agree_with_the_ort_dialect(
    exported: Exported, length: int, chunk: int, tmp_path: Path
) -> None:
    manifest = exported.bundle.manifest
    rng = np.random.default_rng(length + chunk)
    ids = rng.integers(100, manifest.vocab_size, size=PROMPT + STEPS)
    ids[5:9] = manifest.image_token_id
    images = rng.normal(size=(4, manifest.hidden_size)).astype(np.float32)
    standard = StandardDecoder(save_graph(decoder_graph(exported, length), tmp_path), manifest, length)
    other = OrtDecoder(exported.bundle, 1)
    cache = other.allocate(length)
    for start in range(0, PROMPT, chunk):
        part = ids[start : min(start + chunk, PROMPT)]
        seen = int((ids[:start] == manifest.image_token_id).sum())
        shown = images[seen : seen + int((part == manifest.image_token_id).sum())]
        wanted = other.prefill(cache, part, start, shown)
        found = standard.run(part.tolist(), start, shown if len(shown) else None)
        assert relative_error(found[-1:], wanted) < TOLERANCE
    for step in range(PROMPT, PROMPT + STEPS):
        wanted = other.decode(cache, [int(ids[step])], step)
        assert relative_error(standard.run([int(ids[step])], step), wanted) < TOLERANCE


def test_the_tower_agrees_with_the_ort_dialect(exported: Exported, tmp_path: Path) -> None:
    image = exported.bundle.manifest.image
    assert isinstance(image, ImageSettings)
    graph = vision_graph(exported)
    assert graph is not None
    path = save_graph(graph, tmp_path)
    side = image.patch_size * image.spatial_merge_size
    pixels = np.random.default_rng(0).normal(size=(3, side * 2, side * 3)).astype(np.float32)
    patches, positions = to_patches(pixels, image)
    (found,) = exact_session(path).run(["image_embeds"], {"patches": patches, "positions": positions})
    assert relative_error(found, OrtVision(exported.bundle, image, 1).embed(pixels)) < TOLERANCE


def test_only_standard_operators_with_int4_along_the_first_axis(exported: Exported, tmp_path: Path) -> None:
    for graph in (decoder_graph(exported, 64, "float16"), vision_graph(exported, "float16")):
        assert graph is not None
        path = save_graph(graph, tmp_path)
        onnx.checker.check_model(str(path), full_check=True)
        model = onnx.load(str(path), load_external_data=False)
        assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 24)]
        tensors = {tensor.name: tensor for tensor in model.graph.initializer}
        for node in model.graph.node:
            if node.op_type == "DequantizeLinear":
                weight, scales = (tensors[name] for name in node.input)
                attributes = {attribute.name: attribute.i for attribute in node.attribute}
                assert weight.data_type == onnx.TensorProto.INT4
                assert attributes == {"axis": 0, "block_size": 32}
                assert [weight.dims[0] // 32, weight.dims[1]] == list(scales.dims)


def test_half_precision_is_near(exported: Exported, tmp_path: Path) -> None:
    manifest = exported.bundle.manifest
    ids = np.random.default_rng(1).integers(100, manifest.vocab_size, size=20).tolist()
    whole, half = tmp_path / "float32", tmp_path / "float16"
    whole.mkdir()
    half.mkdir()
    wanted = StandardDecoder(save_graph(decoder_graph(exported, 64), whole), manifest, 64).run(ids, 0)
    path = save_graph(decoder_graph(exported, 64, "float16"), half)
    assert relative_error(StandardDecoder(path, manifest, 64, "float16").run(ids, 0), wanted) < HALF_TOLERANCE


@pytest.mark.parametrize("kinds", [{"attn_v": "Q6_K", "attn_q": "Q4_K", "attn_k": "Q4_K", "ffn_down": "Q4_1"}, {}])
def test_rounded_checkpoints_keep_their_integers(kinds: dict[str, str], tmp_path: Path) -> None:
    """Parts of a stacked matrix rounded differently, and minima; without a tower."""
    bundle = export_bundle(write_gguf(tmp_path, kinds, tied=not kinds).path, tmp_path / "b", ExportOptions(EXACT))
    exported = Exported(open_bundle(bundle))
    ids = list(range(50, 70))
    other = OrtDecoder(exported.bundle, 1)
    wanted = other.prefill(other.allocate(64), np.asarray(ids), 0)
    found = StandardDecoder(save_graph(decoder_graph(exported, 64), tmp_path), exported.bundle.manifest, 64).run(ids, 0)
    assert relative_error(found[-1:], wanted) < TOLERANCE


def test_a_file_whose_scales_are_negative_is_refused(tmp_path: Path) -> None:
    file = write_gguf(tmp_path, dict.fromkeys(("attn_q", "attn_k", "attn_v"), "Q4_0"))
    exported = Exported(open_bundle(export_bundle(file.path, tmp_path / "b")))
    with pytest.raises(Unsupported, match="another GGUF format than Q4_0"):
        save_graph(decoder_graph(exported, 64), tmp_path)


def test_negative_scales_are_turned_round_or_refused() -> None:
    integers = np.asarray([[1, -2, 3, 0, 5, -7, 0, 0]], np.int8)
    matrix = Rounded(4, 2, integers, np.asarray([[0.5, -0.25, 0.0, 2.0]], np.float32), None)
    turned = positive(matrix, "w")
    assert (turned.scales > 0).all()
    np.testing.assert_array_equal(turned.floats(), matrix.floats())
    with_minima = dataclasses.replace(matrix, minima=np.ones((4, 1), np.float32))
    np.testing.assert_allclose(positive(with_minima, "w").floats(), with_minima.floats())
    least = dataclasses.replace(matrix, integers=np.asarray([[1, 1, -8, 1, 0, 0, 0, 0]], np.int8))
    with pytest.raises(Unsupported, match="TensorRT computes wrong"):
        positive(least, "w")


def test_no_scale_is_zero_in_half_precision() -> None:
    scales = np.asarray([[0.0, 2e-8, -2e-8, 6e-8, -0.25]], np.float32)
    assert (positive_scales(scales, "float16").astype(np.float16) > 0).all()
    np.testing.assert_array_equal(positive_scales(scales, "float32"), np.where(scales == 0, 1, np.abs(scales)))


def test_packing_is_onnx_own() -> None:
    integers = np.random.default_rng(2).integers(-8, 8, size=(6, 32)).astype(np.int8)
    packed = pack(integers)
    tensor = onnx.TensorProto(data_type=onnx.TensorProto.INT4, dims=(32, 6), raw_data=packed.tobytes())
    np.testing.assert_array_equal(onnx.numpy_helper.to_array(tensor).astype(np.int8), integers.T)
