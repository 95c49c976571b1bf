"""Open a folder as transformers writes it: config.json, safetensors and their index."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lineside.export.checkpoint.assemble import assemble
from lineside.export.checkpoint.config import read_config
from lineside.export.checkpoint.names import hugging_face_name
from lineside.export.checkpoint.quantization import Quantization, read_quantization
from lineside.export.checkpoint.section import Section
from lineside.export.checkpoint.shards import find_shards, nothing_found, open_shards, read_json, refuse_strays
from lineside.export.checkpoint.tensors import Checkpoint
from lineside.export.errors import MissingPart, Unsupported
from lineside.export.network.config import NetworkConfig

CONFIG = "config.json"
INDEX, SINGLE = "model.safetensors.index.json", "model.safetensors"
HEAD = "lm_head.weight"


def find(folder: Path) -> list[Path]:
    """The shards; none where the folder is of another kind. Raises MissingPart, Unsupported."""
    return find_shards(folder, INDEX, SINGLE, "model-*-of-*.safetensors")


def open_folder(folder: Path) -> tuple[Checkpoint, NetworkConfig]:
    """Reads no weight.

    Raises:
        MissingPart: no config, no shard, or a tensor or key is missing.
        Unsupported: something that the graphs do not express, or that would be passed over.
    """
    shards = find(folder)
    if not shards and (folder / "adapter_config.json").exists():
        raise MissingPart(f"{folder} is an adapter: export the model that it belongs to, with `--adapter {folder}`")
    if not shards:
        raise nothing_found(folder, f"neither {SINGLE} nor {INDEX}")
    refuse_strays(folder, shards)
    path = folder / CONFIG
    if not path.exists():
        raise MissingPart(f"{path} is missing: a checkpoint folder holds config.json, safetensors and tekken.json")
    config = read_json(path)
    tensors = assemble(open_shards(shards), hugging_face_name, _quantization(config, path))
    network = read_config(config, path, has_head=HEAD in tensors)
    return Checkpoint(folder, [path, *shards], tensors), network


def _quantization(config: dict[str, Any], path: Path) -> Quantization:
    """Takes it out of `config`, where it may stand in the part of the language model, too."""
    text = config.get("text_config")
    parts = [(config, ""), *([(text, "text_config.")] if isinstance(text, dict) else [])]
    found = [(part.pop("quantization_config", None), where) for part, where in parts]
    said = [(values, where) for values, where in found if values]
    if len(said) > 1 and said[0][0] != said[1][0]:
        raise Unsupported(f"{path}: quantization_config and text_config.quantization_config say different things")
    return read_quantization(Section(said[0][0], path, f"{said[0][1]}quantization_config.")) if said else Quantization()
