"""A checkpoint whose matrices hold exactly what the INT4 bundle's integers and scales stand for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from lineside.export.bundle.plan import PRECISIONS, plan
from lineside.export.checkpoint.matrices import Plain
from lineside.export.checkpoint.opening import open_checkpoint
from lineside.export.checkpoint.tensors import Checkpoint
from lineside.export.quantize.blocks import dequantize, quantize_int4, quantize_int8

SHARD = "model.safetensors"


def write_dequantized(source: Path, target: Path) -> Path:
    """Copy the checkpoint `source` to `target` with every matrix rounded as the export rounds it."""
    checkpoint, network = open_checkpoint(source)
    assert isinstance(checkpoint, Checkpoint)
    planned = plan(checkpoint, network, PRECISIONS["int4"])
    weights = {
        name: weight for file in planned.files.values() for weight in file.weights.values() for name in weight.sources
    }
    tensors: dict[str, np.ndarray] = {}
    for name, info in checkpoint.tensors.items():
        values = checkpoint.read(name)
        if name in weights and weights[name].form in ("int4", "int8"):
            rounding = quantize_int4 if weights[name].form == "int4" else quantize_int8
            matrix = values.reshape(len(values), -1)
            if name.endswith("merging_layer.weight"):  # its blocks of 32 are cut after the columns are reordered
                order = weights[name].column_order
                assert order is not None
                matrix[:, order] = dequantize(*rounding(matrix[:, order]))
                values = matrix
            else:
                values = dequantize(*rounding(matrix)).reshape(values.shape)
        assert isinstance(info, Plain)
        tensors[info.stored.name] = np.ascontiguousarray(values)
    target.mkdir()
    for name in ("config.json", "tekken.json"):
        (target / name).write_bytes((source / name).read_bytes())
    save_file(tensors, target / SHARD)
    return target
