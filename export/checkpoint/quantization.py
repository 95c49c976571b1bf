"""Read `quantization_config`: how the matrices of a checkpoint were rounded before they came here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from lineside.export.checkpoint.section import Section
from lineside.export.errors import Unsupported

Method = Literal["none", "fp8", "gptq", "awq", "compressed"]
FP8_NOTES = frozenset(["modules_to_not_convert", "activation_scheme", "dequantize"])
GPTQ_NOTES = frozenset(
    [
        "damp_percent",
        "damp_auto_increment",
        "true_sequential",
        "static_groups",
        "dataset",
        "tokenizer",
        "batch_size",
        "pad_token_id",
        "model_seqlen",
        "block_name_to_quantize",
        "module_name_preceding_first_block",
        "modules_in_block_to_quantize",
        "cache_block_outputs",
        "max_input_length",
        "use_cuda_fp16",
        "use_exllama",
        "exllama_config",
        "disable_exllama",
        "backend",
        "meta",
        "model_name_or_path",
        "model_file_base_name",
        "quantizer",
        "lm_head",
        "sym",
        "desc_act",
        "act_group_aware",
        "is_marlin_format",
        "modules_to_not_convert",
        "uri",
        "offload_to_disk",
        "offload_to_disk_path",
        "mse",
        "hyb_act",
    ]
)
AWQ_NOTES = frozenset(
    [
        "zero_point",
        "modules_to_not_convert",
        "backend",
        "do_fuse",
        "fuse_max_seq_len",
        "modules_to_fuse",
        "exllama_config",
        "lm_head",
        "sym",
        "desc_act",
    ]
)
COMPRESSED_NOTES = frozenset(
    [
        "quantization_status",
        "global_compression_ratio",
        "ignore",
        "version",
        "targets",
        "input_activations",
        "output_activations",
        "observer",
        "observer_kwargs",
        "dynamic",
        "actorder",
        "block_structure",
        "strategy",
        "group_size",
        "symmetric",
        "scale_dtype",
        "zp_dtype",
    ]
)
"""Keys that say how it was made, or how activations would be rounded: here they stay exact. Which columns share a
scale, where zero points lie, and whether the order of columns was changed, the tensors say themselves."""


@dataclass(frozen=True)
class Quantization:
    """
    Attributes:
        square: rows and columns that share a scale of 8-bit floats, where they do not share one for all.
        bits: of integers.
        zero_shift: see `packed.Packed`.
    """

    method: Method = "none"
    square: tuple[int, int] | None = None
    bits: int = 4
    zero_shift: int = 0


def read_quantization(section: Section) -> Quantization:
    """Raises Unsupported for what cannot be carried over."""
    method = section.get("quant_method", "none")
    readers = {"fp8": _fp8, "gptq": _gptq, "awq": _awq, "compressed-tensors": _compressed}
    if method not in readers:
        raise Unsupported(
            f"{section.name('quant_method')} = {method!r}: the checkpoint is quantized already, in a way that "
            f"cannot be carried over; supported: {', '.join(readers)}. Export the original bfloat16 weights"
        )
    return readers[method](section)


def _fp8(section: Section) -> Quantization:
    square = _square(section, section.get("weight_block_size", None))
    section.close(FP8_NOTES)
    return Quantization("fp8", square)


def _gptq(section: Section) -> Quantization:
    bits = _bits(section, "bits", (4, 8))
    kind = section.choice("checkpoint_format", ("gptq", "gptq_v2"), section.get("format", "gptq"))
    section.require("pack_dtype", "int32")
    section.get("group_size", 0)
    for key in ("dynamic", "layer_bits", "mixed_precision"):
        if section.get(key, None):
            raise Unsupported(f"{section.name(key)} is not supported: matrices of different kinds in one checkpoint")
    section.close(GPTQ_NOTES)
    return Quantization("gptq", bits=bits, zero_shift=1 if kind == "gptq" else 0)


def _awq(section: Section) -> Quantization:
    bits = _bits(section, "bits", (4,))
    version = str(section.get("version", "gemm")).lower()
    if version != "gemm":
        raise Unsupported(f"{section.name('version')} = {version!r} is not supported; supported: gemm")
    section.get("group_size", 0)
    section.close(AWQ_NOTES)
    return Quantization("awq", bits=bits)


def _compressed(section: Section) -> Quantization:
    kind = section.choice("format", ("pack-quantized", "float-quantized", "naive-quantized"))
    for key in ("kv_cache_scheme", "sparsity_config", "transform_config"):
        if section.get(key, None):
            raise Unsupported(f"{section.name(key)} is not supported: export the original weights")
    groups = section.inner("config_groups")
    names = section.get("config_groups")
    found = {_group(groups.inner(name), kind) for name in names}
    if len(found) != 1:
        raise Unsupported(f"{section.name('config_groups')}: matrices of different kinds in one checkpoint: {found}")
    section.close(COMPRESSED_NOTES)
    return next(iter(found))


def _group(group: Section, kind: str) -> Quantization:
    weights = group.inner("weights")
    group.require("format", kind)
    floats = weights.choice("type", ("int", "float")) == "float"
    if floats == (kind == "pack-quantized"):
        raise Unsupported(f"{weights.name('type')} does not belong to the format {kind}")
    bits = _bits(weights, "num_bits", (8,) if floats else (4, 8))
    square = _square(weights, weights.get("block_structure", None))
    weights.close(COMPRESSED_NOTES)
    group.close(COMPRESSED_NOTES)
    return Quantization("fp8", square) if floats else Quantization("compressed", bits=bits)


def _bits(section: Section, key: str, supported: tuple[int, ...]) -> int:
    bits = section.whole(key)
    if bits not in supported:
        raise Unsupported(f"{section.name(key)} = {bits} is not supported; supported: {', '.join(map(str, supported))}")
    return bits


def _square(section: Section, found: Any) -> tuple[int, int] | None:
    if found is None:
        return None
    if not isinstance(found, list) or len(found) != 2 or not all(isinstance(size, int) and size > 0 for size in found):
        raise Unsupported(f"{section.name('weight_block_size')} = {found!r} is no pair of sizes")
    return found[0], found[1]
