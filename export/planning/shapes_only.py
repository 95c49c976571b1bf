"""A checkpoint of which only the shapes are known."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from lineside.export.checkpoint.source import BlockFormat, Blocks
from lineside.export.errors import MissingPart
from lineside.export.network.config import NetworkConfig
from lineside.export.network.shapes import tensor_shapes


class ShapesOnly:
    """An `export.checkpoint.source.Source` of floats that can be planned, not exported."""

    def __init__(self, network: NetworkConfig) -> None:
        self.network = network
        self._shapes = tensor_shapes(network)

    def __contains__(self, name: str) -> bool:
        return name in self._shapes

    def names(self) -> Iterator[str]:
        yield from self._shapes

    def shape(self, name: str) -> tuple[int, ...]:
        try:
            return self._shapes[name]
        except KeyError as error:
            raise MissingPart(f"a network of this kind has no {name}") from error

    def block_format(self, name: str) -> BlockFormat | None:  # noqa: ARG002 - all are floats
        return None

    def rows(self, name: str) -> Iterator[npt.NDArray[np.float32]]:
        raise MissingPart(f"{name} is known by its shape alone")

    def blocks(self, name: str) -> Iterator[Blocks]:
        raise MissingPart(f"{name} is known by its shape alone")

    def stamp(self) -> str:
        return repr(self.network)
