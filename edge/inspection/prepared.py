"""How pictures were made ready that something was learnt from: kept with it, and held against how they are now."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lineside.edge.errors import ConfigError
from lineside.runtime.inspection.preparation import AS_GIVEN, Preparation


def check_prepared(path: Path, content: Mapping[str, Any], preparation: Preparation, again: str) -> None:
    """Raises ConfigError where what `path` holds is of pictures that were made ready in another way.

    Args:
        again: what would make it right.
    """
    then = AS_GIVEN
    if "rotate" in content:
        region: Any = tuple(int(value) for value in content["region"])
        rotate: Any = int(content["rotate"])
        then = Preparation(rotate, region or None)
    if then != preparation:
        raise ConfigError(f"{path} is of pictures with {then}, and the station file says {preparation}: {again}")
