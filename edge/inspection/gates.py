"""The gates of a station: one network for all of them, loaded where a camera has a gate."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from lineside.edge.errors import ConfigError
from lineside.edge.inspection.gate_file import read_gate
from lineside.runtime.errors import EngineError
from lineside.runtime.inspection.gate import Gate
from lineside.runtime.inspection.preparation import Preparation

if TYPE_CHECKING:
    from lineside.runtime.sessions.patch_features import PatchFeatures


class Gates:
    """Opens gates that share a network; `threads` 0 means as many as the process may use."""

    def __init__(self, threads: int = 0) -> None:
        self._threads = threads

    @cached_property
    def features(self) -> PatchFeatures:
        """Raises ConfigError where the network cannot be loaded."""
        try:
            from lineside.runtime.sessions.patch_features import PatchFeatures

            return PatchFeatures(self._threads)
        except (ImportError, EngineError) as error:
            raise ConfigError(f"its network cannot be loaded: {error}") from error

    def open(self, path: Path, preparation: Preparation) -> Gate | None:
        """The gate that `lineside learn` left there; None where there is none.

        Raises ConfigError where it cannot be used, as where it was learnt from pictures that were made ready otherwise.
        """
        if not path.exists():
            return None
        memory = read_gate(path, self.features.sha256, preparation)
        return Gate(self.features, memory) if memory is not None else None
