"""The station file: one TOML file and `LINESIDE_*` variables, read once into frozen dataclasses.

An unknown key is an error that names it. A variable replaces one value: `LINESIDE_MQTT__PASSWORD` sets `mqtt.password`.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from lineside.edge.device_choice import Device
from lineside.edge.errors import ConfigError
from lineside.edge.tool_config import DAY_S, STRICT, ToolConfig
from lineside.runtime.assistant import CALL_ABOVE
from lineside.runtime.bundle import DEFAULT_BUNDLE
from lineside.runtime.picture import DEFAULT_MAX_PIXELS

PREFIX = "LINESIDE_"
NAME = r"^[A-Za-z0-9_-]{1,64}$"
MIB = 1024 * 1024


@dataclass(frozen=True, config=STRICT)
class StationConfig:
    """`name` identifies the station; `base_topic` is `lineside/{name}` unless given.

    `timezone`, such as Europe/Berlin, is for quiet hours; the machine's own where it is empty.
    """

    name: Annotated[str, Field(pattern=NAME)] = "station"
    base_topic: str = ""
    timezone: str = ""


@dataclass(frozen=True, config=STRICT)
class MqttConfig:
    """Where the broker is. `response_prefixes` are the topics, besides our own `rsp/`, that a requester may name."""

    host: Annotated[str, Field(min_length=1)] = "localhost"
    port: Annotated[int, Field(ge=1, le=65535)] = 1883
    username: str = ""
    password: SecretStr = SecretStr("")
    tls: bool = False
    ca_file: str = ""
    client_id: str = ""
    keepalive_s: Annotated[int, Field(ge=5, le=65535)] = 30
    session_expiry_s: Annotated[int, Field(ge=0, le=30 * DAY_S)] = 3600
    response_prefixes: tuple[str, ...] = ("clients/",)


@dataclass(frozen=True, config=STRICT)
class ModelConfig:
    """`bundle` is a folder; the default model where it is empty. `threads` 0 means one a core.

    `device` is `tensorrt`, `cuda` or `cpu`; `auto` takes the first of these that works.

    `capacity` is in tokens, for a prompt and its answer; `kv_cache_mb` is for all requests together, 0 for two of
    `capacity`.
    """

    bundle: str = ""
    device: Device = "auto"
    threads: Annotated[int, Field(ge=0)] = 0
    capacity: Annotated[int, Field(ge=64)] = 4096
    kv_cache_mb: Annotated[int, Field(ge=0)] = 0
    temperature: Annotated[float, Field(ge=0, le=10)] = 0.15
    max_tokens: Annotated[int, Field(ge=1)] = 256
    seed: int = 0


@dataclass(frozen=True, config=STRICT)
class CameraConfig:
    """See `devices.cameras.camera.CameraSettings`.

    `defect_types` and `instruction` stand for those of `[inspect]`. `schema` is a file with a JSON Schema: each result
    then has a `report` that satisfies it. `reference` is a picture of the same view of a part without defects, which
    the model compares each frame with. `any_way_up` as in `[inspect]`.
    """

    kind: Literal["folder", "video", "mqtt"]
    source: str = ""
    interval_s: Annotated[float, Field(ge=0, le=DAY_S)] = 0.0
    loop: bool = False
    defect_types: tuple[str, ...] = ()
    instruction: str = ""
    schema: str = ""
    reference: str = ""
    any_way_up: bool | None = None


@dataclass(frozen=True, config=STRICT)
class InspectConfig:
    """What is looked for, and where `pass` ends and `fail` begins on the probability of a defect.

    A frame that is older than `max_age_s` when its turn comes is rejected. With a `deadline_s` (0 for none), its
    inspection is ended when the frame is older than that, wherever it is.

    `any_way_up` allows a model that was taught so a second look upside down, and a third to say where a defect is that
    only the second showed. A deadline holds for all of them.
    """

    defect_types: tuple[str, ...] = ("pitting",)
    instruction: str = ""
    pass_below: Annotated[float, Field(ge=0, le=1)] = 0.35
    fail_above: Annotated[float, Field(ge=0, le=1)] = 0.65
    any_way_up: bool = True
    max_pixels: Annotated[int, Field(ge=1)] = DEFAULT_MAX_PIXELS
    max_age_s: Annotated[float, Field(gt=0, le=DAY_S)] = 10.0
    deadline_s: Annotated[float, Field(ge=0, le=DAY_S)] = 0.0
    evidence_folder: str = ""


@dataclass(frozen=True, config=STRICT)
class CommandConfig:
    """How commands in plain language are put to the model, and how long a reply is kept for duplicates.

    `rounds` is how often the model may answer to one command: after each but the last it is told what came of its
    calls. 0 leaves it to the bundle, which says whether its model learnt to read that. An answer begins with a call
    only where the model's probability of that is at least `call_above`.
    """

    system: str = "You control a production line. Call a function, or say that none fits."
    expiry_s: Annotated[float, Field(gt=0, le=DAY_S)] = 60.0
    rounds: Annotated[int, Field(ge=0, le=20)] = 0
    call_above: Annotated[float, Field(ge=0, le=1)] = CALL_ABOVE


@dataclass(frozen=True, config=STRICT)
class StoreConfig:
    """The daemon's database. `max_messages` bounds the outbox; the oldest results go first when it is full."""

    path: str = "lineside.db"
    max_messages: Annotated[int, Field(ge=10)] = 100_000
    max_payload_bytes: Annotated[int, Field(ge=1024)] = 8 * MIB


@dataclass(frozen=True, config=STRICT)
class Config:
    """The whole station file."""

    station: StationConfig = field(default_factory=StationConfig)
    mqtt: MqttConfig = field(default_factory=MqttConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    inspect: InspectConfig = field(default_factory=InspectConfig)
    commands: CommandConfig = field(default_factory=CommandConfig)
    store: StoreConfig = field(default_factory=StoreConfig)
    cameras: dict[str, CameraConfig] = field(default_factory=dict)
    tools: dict[str, ToolConfig] = field(default_factory=dict)
    folder: Path = field(default=Path("."))
    file: Path = field(default=Path("station.toml"))

    @property
    def base_topic(self) -> str:
        return self.station.base_topic or f"lineside/{self.station.name}"

    @property
    def bundle_path(self) -> Path:
        return self.resolve(self.model.bundle) if self.model.bundle else DEFAULT_BUNDLE

    @property
    def calibration_path(self) -> Path:
        """Beside the station file, with its name."""
        return self.folder / f"{self.file.stem}.calibration.json"

    def gate_path(self, camera: str) -> Path:
        """Where `lineside learn` keeps what it learnt of a camera."""
        return self.folder / f"{self.file.stem}.{camera}.gate.npz"

    def resolve(self, path: str) -> Path:
        """Relative paths in the station file are taken from its folder."""
        return self.folder / path


def load_config(path: Path, environment: Mapping[str, str] = os.environ) -> Config:
    """Read the station file.

    Raises:
        ConfigError: the file cannot be read, is not TOML, or a key is unknown, missing or out of range.
    """
    try:
        data: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not TOML: {error}") from error
    for key in {"folder", "file"} & data.keys():
        raise ConfigError(f"{path}: unknown key `{key}`")
    _apply_environment(data, environment)
    try:
        config = TypeAdapter(Config).validate_python(data | {"folder": path.absolute().parent, "file": path})
    except ValidationError as error:
        raise ConfigError(_explain(path, error)) from None
    _check(config, path)
    return config


def _apply_environment(data: dict[str, Any], environment: Mapping[str, str]) -> None:
    for variable, value in environment.items():
        if not variable.startswith(PREFIX):
            continue
        section, separator, key = variable.removeprefix(PREFIX).lower().partition("__")
        if separator:
            table = data.setdefault(section, {})
            if isinstance(table, dict):
                table[key] = value


def _check(config: Config, path: Path) -> None:
    for section, names in (("cameras", config.cameras), ("tools", config.tools)):
        for name in names:
            if not re.fullmatch(NAME, name):
                raise ConfigError(f"{path}: `{section}.{name}`: a name has letters, digits, _ and - only")
    for name, tool in config.tools.items():
        if tool.publish is not None and tool.python:
            raise ConfigError(f"{path}: `tools.{name}` has both `publish` and `python`: a call does one thing")
        if tool.confirm_s > config.commands.expiry_s:
            raise ConfigError(
                f"{path}: `tools.{name}.confirm_s` is longer than a command lives: raise `commands.expiry_s`"
            )
    if config.inspect.pass_below > config.inspect.fail_above:
        raise ConfigError(f"{path}: `inspect.pass_below` must not be above `inspect.fail_above`")
    if not config.inspect.defect_types:
        raise ConfigError(f"{path}: `inspect.defect_types` is empty: name at least one kind of defect")
    if re.search(r"[#+\x00]|^/|/$|//", config.base_topic):
        raise ConfigError(f"{path}: `station.base_topic` {config.base_topic!r} is not a plain topic")


def _explain(path: Path, error: ValidationError) -> str:
    """Every mistake with its key; the value is left out, it may be a secret."""
    lines = []
    for item in error.errors(include_input=False, include_url=False):
        key = ".".join(str(part) for part in item["loc"] if part != "Config")
        unknown = item["type"] in ("unexpected_keyword_argument", "extra_forbidden")
        lines.append(f"unknown key `{key}`" if unknown else f"`{key}`: {item['msg']}")
    return f"{path}: " + "; ".join(lines)
