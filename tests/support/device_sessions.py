"""Sessions for GPUs on ONNX Runtime's CPU kernels, and the passes with which they are compared."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lineside.export.bundle.plan import PRECISIONS
from lineside.export.exported import Exported
from lineside.export.graph.standard import Dtype
from lineside.export.graph.standard_graphs import decoder_graph, save_graph, vision_graph
from lineside.runtime.bundle import Bundle
from lineside.runtime.sessions.interface import Decoder, Vision
from lineside.runtime.sessions.ort import OrtDecoder, OrtVision
from lineside.runtime.sessions.selftest import relative_error
from lineside.runtime.sessions.tensorrt.engine_files import FORMAT, EngineSet
from lineside.runtime.sessions.tensorrt.session import TensorRTDecoder, TensorRTVision
from tests.support.cuda import EmulatedMemory
from tests.support.standard import OrtProgram

EXACT = dataclasses.replace(PRECISIONS["int4"], accuracy_level=0)
TOLERANCE, HALF_TOLERANCE = 1e-4, 1e-2
LENGTHS = (64, 128)
CHUNK = 48


def tensorrt(
    bundle: Bundle, folder: Path, memory: EmulatedMemory, dtype: Dtype = "float32", chunk: int = CHUNK
) -> tuple[TensorRTVision, TensorRTDecoder, dict[int, OrtProgram]]:
    exported, manifest = Exported(bundle), bundle.manifest
    programs = {}
    for length in LENGTHS:
        path = folder / str(length)
        path.mkdir()
        programs[length] = OrtProgram(save_graph(decoder_graph(exported, length, dtype), path))
    engines = EngineSet(FORMAT, bundle.sha256, "sm89", "tensorrt", "1", dtype, chunk, LENGTHS, {})
    tower, image = vision_graph(exported, dtype), manifest.image
    assert tower is not None
    assert image is not None
    vision = TensorRTVision(image, manifest.hidden_size, dtype, memory, OrtProgram(save_graph(tower, folder)))
    return vision, TensorRTDecoder(manifest, engines, memory, programs), programs


def pixels(bundle: Bundle, rows: int, columns: int) -> npt.NDArray[np.float32]:
    image = bundle.manifest.image
    assert image is not None
    side = image.patch_size * image.spatial_merge_size
    return np.random.default_rng(rows).normal(size=(3, side * rows, side * columns)).astype(np.float32)


def run(decoder: Decoder, bundle: Bundle, images: npt.NDArray[np.float32]) -> list[npt.NDArray[np.float32]]:
    """Logits of every pass: a prompt with a picture in two chunks, then one token, several, one again; and the same
    behind a prefix that was copied to a longer cache.
    """
    manifest = bundle.manifest
    ids = np.random.default_rng(3).integers(100, manifest.vocab_size, size=60)
    ids[5 : 5 + len(images)] = manifest.image_token_id
    cache, found = decoder.allocate(LENGTHS[0]), []
    decoder.prefill(cache, ids[:8], 0, images[:3], logits=False)
    found.append(decoder.prefill(cache, ids[8:30], 8, images[3:]).copy())
    for start, stop in ((30, 31), (31, 32), (32, 36), (36, 37), (37, 38)):
        found.append(decoder.decode(cache, ids[start:stop].tolist(), start).copy())
    other = decoder.allocate(LENGTHS[1])
    decoder.copy_prefix(cache, other, 33)
    found.append(decoder.prefill(other, ids[33:60], 33).copy())
    found.append(decoder.decode(other, [int(ids[0])], 60).copy())
    found.append(decoder.decode(cache, [int(ids[38])], 38).copy())
    return found


def worst(found: list[npt.NDArray[np.float32]], wanted: list[npt.NDArray[np.float32]]) -> float:
    assert [rows.shape for rows in found] == [rows.shape for rows in wanted]
    return max(relative_error(*pair) for pair in zip(found, wanted, strict=True))


def images_of(vision: Vision, bundle: Bundle) -> npt.NDArray[np.float32]:
    return vision.embed(pixels(bundle, 2, 3))


def reference(bundle: Bundle) -> tuple[OrtVision, OrtDecoder]:
    assert bundle.manifest.image is not None
    return OrtVision(bundle, bundle.manifest.image, 1), OrtDecoder(bundle, 1)


def on_cuda(bundle: Bundle, _folder: Path, memory: EmulatedMemory) -> tuple[Vision, Decoder]:
    assert bundle.manifest.image is not None
    return OrtVision(bundle, bundle.manifest.image, 1), OrtDecoder(bundle, 1, memory=memory, capture=True)


def on_tensorrt(bundle: Bundle, folder: Path, memory: EmulatedMemory) -> tuple[Vision, Decoder]:
    return tensorrt(bundle, folder, memory)[:2]


def new(folder: Path) -> Path:
    folder.mkdir()
    return folder
