"""Find and open the safetensors files of a folder; what is stored in them, a few rows at a time."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open

from lineside.export.errors import MissingPart, Unsupported

DTYPES: Mapping[str, npt.DTypeLike] = {
    "F64": np.float64, "F32": np.float32, "F16": np.float16, "BF16": ml_dtypes.bfloat16,
    "F8_E4M3": ml_dtypes.float8_e4m3fn, "F8_E5M2": ml_dtypes.float8_e5m2,
    "I64": np.int64, "I32": np.int32, "I16": np.int16, "I8": np.int8, "U8": np.uint8, "BOOL": np.bool_,
}  # fmt: skip
FLOATS = ("F32", "F16", "BF16")
LFS = b"version https://git-lfs"
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")


@dataclass(frozen=True)
class Stored:
    """A tensor as it lies in its file. `dtype` is safetensors' name of its type."""

    shard: Path
    name: str
    dtype: str
    shape: tuple[int, ...]
    offset: int

    def __str__(self) -> str:
        return f"{self.shard}: {self.name}"

    def array(self) -> npt.NDArray[Any]:
        """Mapped into memory, and read where it is looked at."""
        return np.memmap(self.shard, np.dtype(DTYPES[self.dtype]), "r", self.offset, self.shape or (1,))


def find_shards(folder: Path, index: str, single: str, several: str = "") -> list[Path]:
    """The files that `index` names, or else `single`, or else those of the pattern `several`; none where none is there.

    Raises:
        MissingPart: a file that the index names is not there.
        Unsupported: the index cannot be read, or names a file outside of the folder.
    """
    if (folder / index).exists():
        names = _indexed(folder / index)
        missing = [name for name in names if not (folder / name).exists()]
        if missing:
            raise MissingPart(f"{folder}: shard {', '.join(missing)} is missing ({index} names it): fetch it again")
        return [folder / name for name in names]
    if (folder / single).exists():
        return [folder / single]
    return sorted(folder.glob(several)) if several else []


def _indexed(index: Path) -> list[str]:
    found = read_json(index).get("weight_map")
    if not isinstance(found, dict) or not found or not all(isinstance(name, str) for name in found.values()):
        raise Unsupported(f"{index} has no `weight_map` of tensors and files: fetch it again")
    names: list[str] = sorted(set(found.values()))
    for name in names:
        if Path(name).name != name or name in ("", ".", ".."):
            raise Unsupported(f"{index} names {name!r}, which is not a file of its own folder")
    return names


def read_json(path: Path) -> dict[str, Any]:
    """Raises MissingPart where the file is not there, Unsupported where it is no JSON object."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise MissingPart(f"{path} is missing") from error
    except OSError as error:
        raise MissingPart(f"{path} cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise Unsupported(f"{path} is not JSON: {str(error)[:200]}") from error
    if not isinstance(found, dict):
        raise Unsupported(f"{path} holds no JSON object, but {type(found).__name__}")
    return found


def open_shards(shards: Sequence[Path]) -> dict[str, Stored]:
    """Everything in the files by its stored name.

    Raises:
        MissingPart: a file is damaged, cut short, or only points to what Git LFS keeps elsewhere.
        Unsupported: a type that is not known here, or a name that is there twice.
    """
    found: dict[str, Stored] = {}
    for shard in shards:
        for stored in _scan(shard):
            if stored.name in found:
                raise Unsupported(f"{stored} is in {found[stored.name].shard.name}, too: keep one of them")
            found[stored.name] = stored
    return found


def _scan(shard: Path) -> list[Stored]:
    try:
        with shard.open("rb") as file:
            head = file.read(len(LFS))
            if head == LFS:
                raise MissingPart(f"{shard} is a Git LFS pointer, not the file itself: run `git lfs pull` there")
            size = int.from_bytes(head[:8], "little")
            with safe_open(shard, framework="np"):
                pass  # the library checks the header, and that the file holds what it promises
            file.seek(8)
            header: dict[str, Any] = json.loads(file.read(size))
    except SafetensorError as error:
        raise MissingPart(f"{shard} is damaged or incomplete ({error}): fetch it again") from error
    except OSError as error:
        raise MissingPart(f"{shard} cannot be read ({error.strerror or error})") from error
    header.pop("__metadata__", None)
    tensors = []
    for name, entry in header.items():
        if entry["dtype"] not in DTYPES:
            raise Unsupported(f"{shard}: {name} is of type {entry['dtype']}; supported: {', '.join(FLOATS)}")
        start, shape = entry["data_offsets"][0], tuple(entry["shape"])
        if not prod(shape):
            raise Unsupported(f"{shard}: {name} is empty, of shape {shape}")
        tensors.append(Stored(shard, name, entry["dtype"], shape, 8 + size + start))
    return tensors


def refuse_strays(folder: Path, used: Sequence[Path]) -> None:
    """Raise Unsupported where safetensors lie in `folder` that nothing reads: another model's, or an adapter's."""
    for path in sorted([*folder.glob("*.safetensors"), *folder.glob("adapter_model.bin")]):
        if path in used or path.name.startswith("consolidated"):
            continue
        advice = "merge it with `--adapter FOLDER`, from a folder of its own" if "adapter" in path.name else "move it"
        raise Unsupported(f"{path} lies beside the model and is not read: {advice}")


def nothing_found(folder: Path, wanted: str) -> MissingPart:
    """What is said where `folder` holds no weights."""
    pickles = sorted(path.name for pattern in PICKLES for path in folder.glob(pattern))
    if pickles:
        kinds = f"{pickles[0]} can run code when it is opened"
        return MissingPart(f"{folder} holds no safetensors, and {kinds}: save the model again as safetensors")
    return MissingPart(f"{folder} holds {wanted}: is it a checkpoint folder?")
