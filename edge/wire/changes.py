"""Bodies of the commands that need a word in `[remote] allow`, and what the station says of changes."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class Change(BaseModel):
    """The common part of these commands."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    transaction: str = Field(default="", max_length=200)


class ConfigCommand(Change):
    """The body of `cmd/config`: `{"set": {"inspect.pass_below": 0.2}}`; null takes a setting back to the
    station file's.

    It is taken whole or not at all, and kept beside the station file.
    """

    set: dict[str, Any] = Field(min_length=1, max_length=200)


class SwitchCommand(Change):
    """The body of `cmd/switch`: a camera, or its inspection, on or off."""

    camera: str
    what: Literal["camera", "inspection"] = "camera"
    on: bool


class ModelInstallCommand(Change):
    """The body of `cmd/model-install`.

    `source` is a folder below the station file's, or the address of one on the local network; `sha256` that of its
    `bundle.json`. With `shadow_frames` the new model looks at so many frames beside the one that runs first.
    """

    source: str = Field(min_length=1, max_length=2000)
    sha256: str | None = Field(default=None, pattern="^[0-9a-f]{64}$")
    shadow_frames: int = Field(default=0, ge=0, le=100_000)


class ModelRollbackCommand(Change):
    """The body of `cmd/model-rollback`: the former model runs again. It may be empty."""


class CallCommand(Change):
    """The body of `cmd/call`: `{"tool": "set_fan", "arguments": {"percent": 40}}`, a call without a sentence.

    Nothing is called after `expires_at`.
    """

    tool: str = Field(min_length=1, max_length=200)
    arguments: dict[str, Any] = Field(default_factory=dict)
    expires_at: datetime | None = None


class WireRemote(BaseModel):
    """What the station file lets others change, by key the settings that they have changed, and those that they could
    change as they are now."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    allow: list[str] = Field(default_factory=list)
    changed: dict[str, Any] = Field(default_factory=dict)
    settings: dict[str, Any] = Field(default_factory=dict)


CHANGES: tuple[type[Change], ...] = (
    ConfigCommand,
    SwitchCommand,
    ModelInstallCommand,
    ModelRollbackCommand,
    CallCommand,
)
