"""A bundle read back as a checkpoint: what was exported comes out again, under the checkpoint's names."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from lineside.export.bundle.options import ExportOptions
from lineside.export.bundle.plan import PRECISIONS
from lineside.export.bundle.writer import export_bundle
from lineside.export.checkpoint.from_bundle import read_bundle
from lineside.export.checkpoint.opening import open_checkpoint
from lineside.export.checkpoint.tensors import Checkpoint
from lineside.export.errors import Unsupported
from lineside.export.network.config import NetworkConfig
from tests.support.checkpoints import CASES, copy_checkpoint

VECTOR_OR_MATRIX = (1, 2, 4)


def shapes_of(checkpoint: Checkpoint, network: NetworkConfig) -> dict[str, tuple[int, ...]]:
    """Of all that the graphs use: a tower may have a layer behind the one whose features are taken."""
    assert network.vision is not None
    unused = ("lm_head.", f"vision.transformer.layers.{network.vision.feature_layer}.")
    return {name: checkpoint.shape(name) for name in checkpoint.tensors if not name.startswith(unused)}


@pytest.mark.parametrize("case", CASES)
def test_every_tensor_comes_back(case: str, tmp_path: Path) -> None:
    folder = copy_checkpoint(case, tmp_path)
    checkpoint, network = open_checkpoint(folder)
    assert isinstance(checkpoint, Checkpoint)
    bundle = export_bundle(folder, tmp_path / "bundle", ExportOptions(PRECISIONS["float32"]))
    found = dict(read_bundle(bundle, shapes_of(checkpoint, network)))
    assert len(found) > 20
    for name, array in found.items():
        np.testing.assert_array_equal(array, checkpoint.read(name), err_msg=name)


def test_rounded_tensors_come_back_as_they_were_rounded(tmp_path: Path) -> None:
    folder = copy_checkpoint("tied", tmp_path)
    checkpoint, network = open_checkpoint(folder)
    assert isinstance(checkpoint, Checkpoint)
    alone = dataclasses.replace(PRECISIONS["int4"], method="nearest")
    bundle = export_bundle(folder, tmp_path / "bundle", ExportOptions(alone))
    for name, array in read_bundle(bundle, shapes_of(checkpoint, network)):
        exact = checkpoint.read(name)
        assert array.ndim in VECTOR_OR_MATRIX
        assert np.abs(array - exact).max() < 0.15 * np.abs(exact).max(), name


def test_other_shapes_are_refused(tmp_path: Path) -> None:
    bundle = export_bundle(copy_checkpoint("tied", tmp_path), tmp_path / "bundle")
    with pytest.raises(Unsupported, match=r"decoder\.norm\.weight"):
        list(read_bundle(bundle, {"decoder.norm.weight": (7,)}))
