"""What `lineside calibrate --commands` leaves in the data folder, and the daemon takes up."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lineside.edge.errors import ConfigError
from lineside.edge.tool_config import ToolConfig
from lineside.runtime.bundle import Bundle


class TrustFile(BaseModel):
    """A fit of the confidence in calls: valid for one bundle and one set of tools, whose hashes it holds."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    schema_: Literal["lineside.commands/1"] = Field(default="lineside.commands/1", alias="schema")
    scale: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    offset: Annotated[float, Field(allow_inf_nan=False)]
    sentences: int
    right_calls: int
    wrong_calls: int
    bundle_sha256: str
    tools_sha256: str
    fitted_at: datetime

    def problem(self, bundle: Bundle, tools: Mapping[str, ToolConfig]) -> str:
        """Why it is not valid for this bundle and these tools; empty where it is."""
        if not bundle.answers_to(self.bundle_sha256):
            return "it was fitted for another model"
        return "" if self.tools_sha256 == tools_digest(tools) else "it was fitted for other tools"


def tools_digest(tools: Mapping[str, ToolConfig]) -> str:
    """Of all that the model and the checks are told of the tools."""
    said = {name: (tool.description, tool.parameters, asdict(tool).get("words")) for name, tool in tools.items()}
    return hashlib.sha256(json.dumps(said, sort_keys=True, default=str).encode()).hexdigest()


def read_trust(path: Path) -> TrustFile | None:
    """None where there is no file.

    Raises:
        ConfigError: the file cannot be read, or is not what `lineside calibrate --commands` writes.
    """
    try:
        return TrustFile.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror})") from error
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise ConfigError(
            f"{path} is damaged ({place}: {first['msg']}): run `lineside calibrate --commands` again"
        ) from None


def write_trust(path: Path, fitted: TrustFile) -> None:
    """Replace the file in one step.

    Raises:
        ConfigError: it cannot be written.
    """
    partial = path.with_name(f"{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(fitted.model_dump_json(by_alias=True, indent=2) + "\n", encoding="utf-8")
        os.replace(partial, path)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written ({error.strerror})") from error
