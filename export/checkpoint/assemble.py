"""From what is stored in the shards to the tensors of a network: a matrix and its scales become one."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from lineside.export.checkpoint.matrices import Matrix, Plain, Scaled
from lineside.export.checkpoint.names import DROPPED
from lineside.export.checkpoint.packed import packed
from lineside.export.checkpoint.quantization import Quantization
from lineside.export.checkpoint.shards import FLOATS, Stored
from lineside.export.errors import MissingPart, Unsupported

SCALES = ("weight_scale_inv", "weight_scale", "qscale_weight")
"""Of 8-bit floats: as transformers, compressed-tensors and Mistral call them. All multiply."""
OF_ACTIVATIONS = ("activation_scale", "input_scale", "qscale_act")
"""Scales of what goes into a matrix. Here that stays exact."""
PARTS = {
    "gptq": ("qweight", "scales", "qzeros", "g_idx", ""),
    "awq": ("qweight", "scales", "qzeros", "", ""),
    "compressed": ("weight_packed", "weight_scale", "weight_zero_point", "weight_g_idx", "weight_shape"),
}
"""What a rounded matrix is stored as: words, scales, zero points, the order of its columns, its shape."""
Leaves = dict[str, Stored]


def assemble(
    stored: Mapping[str, Stored], own_name: Callable[[str], str], quantization: Quantization
) -> dict[str, Matrix]:
    """Tensors by Lineside's names. What belongs to none keeps its own name, for `complete.check_tensors` to refuse.

    Raises:
        MissingPart: a rounded matrix without its scale.
        Unsupported: two tensors of one name, or a type that is not read here.
    """
    modules: dict[str, Leaves] = {}
    for name, tensor in stored.items():
        if DROPPED.fullmatch(name):
            continue
        module, _, leaf = own_name(name).rpartition(".")
        leaves = modules.setdefault(module, {})
        if leaf in leaves:
            raise Unsupported(f"{tensor} and {leaves[leaf].name} are the same tensor under two names: keep one of them")
        leaves[leaf] = tensor
    return {
        f"{module}.{leaf}" if module else leaf: matrix
        for module, leaves in modules.items()
        for leaf, matrix in _module(leaves, quantization).items()
    }


def _module(leaves: Leaves, quantization: Quantization) -> dict[str, Matrix]:
    weight = leaves.get("weight")
    found: dict[str, Matrix] = {}
    if weight is not None and weight.dtype == "F8_E4M3":
        found["weight"] = _scaled(weight, leaves, quantization)
    elif quantization.method in PARTS and PARTS[quantization.method][0] in leaves:
        found["weight"] = _packed(leaves, quantization)
        leaves.pop("weight", None)
    return found | {leaf: _plain(tensor) for leaf, tensor in leaves.items() if leaf not in found}


def _scaled(weight: Stored, leaves: Leaves, quantization: Quantization) -> Matrix:
    """Takes the scales out of `leaves`."""
    if quantization.method != "fp8":
        raise Unsupported(f"{weight} is F8_E4M3, and the config has no quantization_config that says how it is scaled")
    scales = [leaves.pop(name) for name in SCALES if name in leaves]
    for name in OF_ACTIVATIONS:
        leaves.pop(name, None)
    if not scales:
        raise MissingPart(f"{weight} has no scale ({' or '.join(SCALES)}) beside it: fetch it again")
    if len(scales) > 1 or scales[0].dtype not in FLOATS:
        raise Unsupported(f"{weight} has scales that cannot be read: {', '.join(map(str, scales))}")
    return Scaled(weight, scales[0], quantization.square)


def _packed(leaves: Leaves, quantization: Quantization) -> Matrix:
    """Takes its parts out of `leaves`, and a bias of nothing, which older versions of GPTQ's tools store."""
    words, scales, zeros, order, shape = (leaves.pop(name, None) for name in PARTS[quantization.method])
    assert words is not None
    if scales is None or scales.dtype not in FLOATS:
        raise MissingPart(f"{words} has no scales beside it: fetch it again")
    if "weight" in leaves:
        raise Unsupported(f"{words} and {leaves['weight'].name} are the same matrix twice")
    layout = quantization.method
    assert layout in ("gptq", "awq", "compressed")
    matrix = packed(layout, quantization.bits, words, scales, zeros, quantization.zero_shift, order)
    if shape is not None and tuple(shape.array().tolist()) != matrix.shape:
        raise Unsupported(f"{shape} says {shape.array().tolist()}, {words.name} is a matrix of {matrix.shape}")
    bias = leaves.get("bias")
    if bias is not None and not bias.array().any():
        del leaves["bias"]
    return matrix


def _plain(tensor: Stored) -> Matrix:
    if tensor.dtype not in FLOATS:
        raise Unsupported(f"{tensor} is {tensor.dtype}; supported: {', '.join(FLOATS)}")
    return Plain(tensor)
