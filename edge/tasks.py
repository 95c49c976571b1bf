"""What each camera's pictures are inspected for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from edge.config import Config
from edge.errors import ConfigError
from runtime.inspection import InspectionTask


def inspection_task(config: Config, camera: str) -> InspectionTask:
    """The camera's own settings, and those of `[inspect]` where it has none.

    Raises:
        ConfigError: the camera's schema cannot be read.
    """
    own = config.cameras[camera]
    return InspectionTask(
        own.defect_types or config.inspect.defect_types,
        own.instruction or config.inspect.instruction,
        _read_schema(config.resolve(own.schema), f"cameras.{camera}.schema") if own.schema else None,
        f"`cameras.{camera}.schema`: {own.schema}",
    )


def _read_schema(path: Path, key: str) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"`{key}`: {path} cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"`{key}`: {path} is not JSON ({error})") from error
