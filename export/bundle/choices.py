"""The options of the commands that export, as they come from the command line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TypedDict

from lineside.export.bundle.options import MAX_KL, ExportOptions
from lineside.export.bundle.plan import PRECISIONS, Precisions
from lineside.export.errors import Unsupported
from lineside.export.graph.kv import KVDtype
from lineside.export.graph.weights import Precision
from lineside.export.quantize.rounder import Method
from lineside.runtime.manifest import Target
from lineside.runtime.taught_file import Declaration, read_taught


class Choices(TypedDict, total=False):
    """What the user says; None, or nothing, where it is left out."""

    precision: str
    kv_dtype: KVDtype
    embedding: Precision | None
    head: Precision | None
    quantizer: Method | None
    target: Target
    sensitive: Precision | None
    max_kl: float | None
    verbatim_arguments: bool
    any_way_up: bool
    taught: Path | None


def to_options(choices: Choices) -> ExportOptions:
    """Raises Unsupported for choices that do not fit together; reads the file of what the model was taught."""
    taught, max_kl = choices.get("taught"), choices.get("max_kl")
    return ExportOptions(
        to_precisions(choices),
        choices.get("kv_dtype", "float32"),
        choices.get("verbatim_arguments", False),
        choices.get("any_way_up", False),
        Declaration() if taught is None else read_taught(taught),
        MAX_KL if max_kl is None else max_kl,
    )


def to_precisions(choices: Choices) -> Precisions:
    """Raises Unsupported as `to_options`."""
    usual, target = PRECISIONS[choices.get("precision", "int4")], choices.get("target", "any")
    method = choices.get("quantizer") or usual.method
    if usual.decoder != "int4" and (choices.get("quantizer") or choices.get("sensitive")):
        raise Unsupported("--quantizer and --sensitive are for INT4: leave them out, or say --precision int4")
    if method == "hqq" and target != "cpu":
        raise Unsupported("--quantizer hqq gives zero points, which engines cannot have: say --target cpu as well")
    return replace(
        usual,
        embedding=choices.get("embedding") or usual.embedding,
        head=choices.get("head") or usual.head,
        method=method,
        target=target,
        sensitive=choices.get("sensitive") or usual.sensitive,
    )
