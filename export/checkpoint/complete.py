"""Nothing is passed over: every tensor that the network asks for is there in its shape, and no other."""

from __future__ import annotations

import math
import re

from lineside.export.checkpoint.source import Source
from lineside.export.errors import Unsupported
from lineside.export.network.config import NetworkConfig
from lineside.export.network.shapes import tensor_shapes

SHOWN = 4
LORA = re.compile(r"lora_|\.base_layer\.|modules_to_save")
LAYER = re.compile(r"(decoder|vision\.transformer)\.layers\.(\d+)\.")


def check_tensors(source: Source, network: NetworkConfig) -> None:
    """Compare `source` with what `network` asks for, without reading a weight.

    Raises:
        MissingPart: a tensor is not there.
        Unsupported: one has another shape, or the network has no place for it.
    """
    wanted = tensor_shapes(network)
    for name, shape in wanted.items():
        found = source.shape(name)
        if _as_matrix(found) != _as_matrix(shape):
            raise Unsupported(f"config.json asks for {name} {shape}, the shards hold {found}")
    over = sorted(name for name in source.names() if name not in wanted and not _is_idle(name, network))
    if not over:
        return
    shown = ", ".join(over[:SHOWN]) + (", ..." if len(over) > SHOWN else "")
    raise Unsupported(f"{len(over)} tensors have no place in the network: {shown}. {_advice(over[0], network)}")


def _advice(name: str, network: NetworkConfig) -> str:
    layer = LAYER.match(name)
    if LORA.search(name):
        return "They are an adapter's: merge it into the model first, or keep it in its own folder for `--adapter`"
    counts = {"decoder": network.decoder.num_hidden_layers}
    if network.vision is not None:
        counts["vision.transformer"] = network.vision.num_hidden_layers
    if layer and int(layer[2]) >= counts.get(layer[1], 0):
        return f"The config says that there are {counts.get(layer[1], 0)} layers: it belongs to another checkpoint"
    return "Left out, the model would compute something else without a word"


def _is_idle(name: str, network: NetworkConfig) -> bool:
    """Whether it belongs to a layer of the tower behind the one whose features are taken."""
    layer, vision = LAYER.match(name), network.vision
    if vision is None or layer is None or layer[1] == "decoder":
        return False
    return vision.feature_layer <= int(layer[2]) < vision.num_hidden_layers


def _as_matrix(shape: tuple[int, ...]) -> tuple[int, ...]:
    """A convolution kernel `(D, 3, p, p)` counts as a matrix `(D, 3*p*p)`."""
    return (shape[0], math.prod(shape[1:])) if len(shape) > 1 else shape
