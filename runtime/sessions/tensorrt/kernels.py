"""What TensorRT for RTX compiles when an engine is loaded, kept for the next start. For TensorRT sessions only."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

log = logging.getLogger("lineside.tensorrt")


class KernelCache:
    """The kernels of one engine, in the file `path`. TensorRT itself refuses one of another GPU, driver or version."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._cache: Any = None
        self._kept = b""

    def use(self, config: Any) -> None:
        """For a context that is made with this runtime configuration."""
        if self._cache is None:
            self._cache = config.create_runtime_cache()
            kept = self._path.read_bytes() if self._path.is_file() else b""
            if kept and self._cache.deserialize(kept):
                self._kept = kept
        config.set_runtime_cache(self._cache)

    def keep(self) -> None:
        """Write what has been compiled, where that is new and the folder can be written."""
        compiled = bytes(self._cache.serialize()) if self._cache is not None else b""
        if compiled == self._kept:
            return
        unfinished = self._path.with_name(self._path.name + ".unfinished")
        try:
            unfinished.write_bytes(compiled)
            unfinished.rename(self._path)
        except OSError as error:
            log.warning("%s cannot be written, the next start compiles anew: %s", self._path, error)
        self._kept = compiled
