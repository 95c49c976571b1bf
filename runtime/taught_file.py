"""The file in which the maker of a model declares what it was taught: `taught.toml`."""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from lineside.runtime.errors import DeclarationError
from lineside.runtime.inspection_template import InspectionTemplate
from lineside.runtime.manifest import PROMPT_TEMPLATE, ROUNDS, Positive, Taught, check_template, explain


@dataclass(frozen=True)
class Declaration:
    """What a bundle says of its model besides its weights; see `runtime.manifest`. The default declares no bounds."""

    taught: Taught = field(default_factory=Taught)
    rounds: Positive = ROUNDS
    prompt_template: str = PROMPT_TEMPLATE
    inspection: InspectionTemplate = field(default_factory=InspectionTemplate)


_DECLARATION = TypeAdapter(Declaration)
_OWN = {field.name for field in fields(Declaration)} - {"taught"}
_KEYS = _OWN | {field.name for field in fields(Taught)}


def read_taught(path: Path) -> Declaration:
    """Read a file with the keys of `Taught`, `rounds`, `prompt_template` and `inspection`.

    One that is left out bounds nothing.

    Raises:
        DeclarationError: the file cannot be read, is not TOML, or a key is unknown or of another type.
        BundleFormat: this Lineside does not write the prompts that it names.
    """
    try:
        data: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DeclarationError(f"{path} cannot be read ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DeclarationError(f"{path} is not TOML: {error}") from error
    if unknown := sorted(data.keys() - _KEYS):
        named = ", ".join(f"`{key}`" for key in unknown)
        raise DeclarationError(f"{path}: unknown key {named}; known: {', '.join(sorted(_KEYS))}")
    own = {key: data.pop(key) for key in _OWN & data.keys()}
    try:
        declaration = _DECLARATION.validate_json(json.dumps({"taught": data} | own, default=str), strict=True)
    except ValidationError as error:
        raise DeclarationError(f"{path}: {explain(error).replace('`taught.', '`')}") from None
    check_template(declaration.prompt_template, path)
    return declaration
