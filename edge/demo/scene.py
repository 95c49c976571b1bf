"""What plays the world around a station in `lineside demo`: `demo.toml` beside the station file."""

from __future__ import annotations

from dataclasses import field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from lineside.edge.errors import ConfigError
from lineside.edge.toml_file import read_toml
from lineside.edge.tool_config import STRICT

NAME = "demo.toml"


@dataclass(frozen=True, config=STRICT)
class Device:
    """`[[devices]]`: devices that do as they are told, and say so."""

    command: str
    """A topic filter with one `+`, where they are told."""
    state: str
    """The same with `+`, where each says how it is, retained: the JSON that it was told, over what it was before."""


@dataclass(frozen=True, config=STRICT)
class Step:
    """`[[steps]]`, in their order: somebody says something, or something of the world changes."""

    say: str = ""
    """A command."""
    expect: Literal["done", "refused"] = "done"
    """What is to come of it: the demo fails where something else does."""
    confirm: bool = False
    """Whether a person says yes where the call asks for one."""
    topic: str = ""
    """Where the world says something."""
    payload: Any = None
    """What it says: text, or JSON."""
    every_s: Annotated[float, Field(ge=0)] = 0.0
    """How often it says so, until it says something else there; 0 for once, retained."""


@dataclass(frozen=True, config=STRICT)
class Plc:
    """`[plc]`: a Modbus server in the place of the station's PLC, with a photo-eye and what the station switches."""

    photo_eye: Annotated[int, Field(ge=0, le=999)]
    """The coil that a part switches on as it passes."""
    parts: Annotated[int, Field(ge=1)]
    """How many pass."""
    every_s: Annotated[float, Field(gt=0)] = 1.0
    """How long from one to the next, at the least: the next comes when the last has its result."""
    coils: dict[str, Annotated[int, Field(ge=0, le=999)]] = field(default_factory=dict)
    """What is told of, by the name that it has in the demo."""


@dataclass(frozen=True, config=STRICT)
class Scene:
    """`demo.toml`."""

    devices: tuple[Device, ...] = ()
    steps: tuple[Step, ...] = ()
    plc: Plc | None = None

    def before(self) -> tuple[Step, ...]:
        """What the world has said before the station starts: the topics that come first."""
        said = next((number for number, step in enumerate(self.steps) if step.say), len(self.steps))
        return self.steps[:said]

    def later(self) -> tuple[Step, ...]:
        return self.steps[len(self.before()) :]


def read_scene(folder: Path) -> Scene:
    """An empty one where the folder has none. Raises ConfigError."""
    path = folder / NAME
    try:
        return read_toml(path, Scene)
    except FileNotFoundError:
        return Scene()
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror})") from error
