"""The tensors of a folder of safetensors, a few rows at a time, so that no more than a slice is ever in memory."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lineside.export.checkpoint.matrices import Matrix
from lineside.export.checkpoint.source import BlockFormat, Blocks
from lineside.export.errors import MissingPart, Unsupported

ROW_CHUNK_ELEMENTS = 8 * 1024 * 1024


class Checkpoint:
    """An `export.checkpoint.source.Source`: the tensors of a checkpoint folder by Lineside's names.

    Args:
        files: everything that the tensors are read from; the config belongs to it.
    """

    def __init__(self, folder: Path, files: list[Path], tensors: Mapping[str, Matrix]) -> None:
        self.folder, self.files, self.tensors = folder, files, tensors

    def __contains__(self, name: str) -> bool:
        return name in self.tensors

    def names(self) -> Iterator[str]:
        yield from self.tensors

    def shape(self, name: str) -> tuple[int, ...]:
        """Raises MissingPart where the tensor is not in any shard."""
        return self._matrix(name).shape

    def _matrix(self, name: str) -> Matrix:
        try:
            return self.tensors[name]
        except KeyError:
            shards = sum(path.suffix == ".safetensors" for path in self.files)
            raise MissingPart(f"{self.folder}: tensor {name} is in none of the {shards} shards") from None

    def read(self, name: str) -> npt.NDArray[np.float32]:
        """A whole tensor as float32."""
        return np.concatenate(list(self.rows(name)))

    def rows(self, name: str) -> Iterator[npt.NDArray[np.float32]]:
        """Consecutive row slices as float32, each of about `ROW_CHUNK_ELEMENTS`.

        Raises Unsupported where one holds a number that is not finite.
        """
        matrix = self._matrix(name)
        for at in self._slices(matrix):
            values = matrix.rows(at)
            check_finite(values, matrix)
            yield values

    def block_format(self, name: str) -> BlockFormat | None:
        return self._matrix(name).block

    def blocks(self, name: str) -> Iterator[Blocks]:
        """Raises as `rows` does."""
        matrix = self._matrix(name)
        for at in self._slices(matrix):
            blocks = matrix.blocks(at)
            check_finite(blocks.scales, matrix)
            yield blocks

    def _slices(self, matrix: Matrix) -> Iterator[slice]:
        count = matrix.shape[0]
        step = max(1, ROW_CHUNK_ELEMENTS // int(np.prod(matrix.shape[1:], dtype=np.int64)))
        for start in range(0, count, step):
            yield slice(start, min(start + step, count))

    def stamp(self) -> str:
        """A cheap identity of the files (names, sizes, times), to tell whether a broken-off export may go on."""
        states = [(path.name, path.stat()) for path in self.files]
        return json.dumps([(name, state.st_size, state.st_mtime_ns) for name, state in states])


def check_finite(values: npt.NDArray[np.float32], what: object) -> None:
    """Raise Unsupported where a number of `what` is infinite or none. A sum is quicker, and tells nearly always."""
    with np.errstate(invalid="ignore", over="ignore"):
        if np.isfinite(values.sum()):
            return
    wrong = np.argwhere(~np.isfinite(values))
    if len(wrong):
        number = values[tuple(wrong[0])]
        raise Unsupported(f"{what} holds {len(wrong)} numbers that are not finite, such as {number}: fetch it again")
