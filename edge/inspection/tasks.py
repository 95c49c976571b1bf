"""What each camera's pictures are inspected for."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from lineside.edge.config import Config
from lineside.edge.errors import ConfigError
from lineside.edge.inspection.example_folder import examples_key, read_examples
from lineside.edge.inspection.preparing import preparation_of, upright_picture
from lineside.runtime.chat import Picture
from lineside.runtime.errors import PictureError
from lineside.runtime.inspection.preparation import Preparation
from lineside.runtime.inspection.task import InspectionTask
from lineside.runtime.inspection_template import InspectionTemplate
from lineside.runtime.manifest import explain


def inspection_task(config: Config, camera: str) -> InspectionTask:
    """The camera's own settings, and those of `[inspect]` where it has none.

    Raises:
        ConfigError: the camera's schema, reference or examples cannot be read.
    """
    own = config.cameras[camera]
    shown = "" if own.reference else own.examples or config.inspect.examples
    preparation, most = preparation_of(own), config.inspect.max_pixels
    return InspectionTask(
        own.defect_types or config.inspect.defect_types,
        own.instruction or config.inspect.instruction,
        read_schema(config.resolve(own.schema), f"cameras.{camera}.schema") if own.schema else None,
        f"`cameras.{camera}.schema`: {own.schema}",
        _read_reference(config.resolve(own.reference), f"cameras.{camera}.reference", preparation, most)
        if own.reference
        else None,
        config.inspect.any_way_up if own.any_way_up is None else own.any_way_up,
        part=own.part or config.inspect.part,
        template=_read_template(config.resolve(config.inspect.template)) if config.inspect.template else None,
        examples=read_examples(config.resolve(shown), examples_key(config, camera), preparation, most) if shown else (),
        preparation=preparation,
        max_side=own.max_side,
    )


def _read_reference(path: Path, key: str, preparation: Preparation, max_pixels: int) -> Picture:
    try:
        return preparation.part(upright_picture(path.read_bytes(), preparation, max_pixels))
    except OSError as error:
        raise ConfigError(f"`{key}`: {path} cannot be read ({error.strerror})") from error
    except PictureError as error:
        raise ConfigError(f"`{key}`: {path}: {error}") from error


def _read_template(path: Path) -> InspectionTemplate:
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
        return TypeAdapter(InspectionTemplate).validate_json(json.dumps(raw, default=str), strict=True)
    except OSError as error:
        raise ConfigError(f"`inspect.template`: {path} cannot be read ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"`inspect.template`: {path} is not TOML: {error}") from error
    except ValidationError as error:
        raise ConfigError(f"`inspect.template`: {path}: {explain(error)}") from None


def read_schema(path: Path, key: str) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"`{key}`: {path} cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"`{key}`: {path} is not JSON ({error})") from error
