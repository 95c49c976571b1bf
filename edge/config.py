"""What a station file may say: its keys, their types and defaults. `edge.station_file` reads it."""

from __future__ import annotations

from dataclasses import field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from lineside.edge.audit_config import AuditConfig
from lineside.edge.camera_config import CameraConfig
from lineside.edge.current_model import models_folder
from lineside.edge.data_folder import NAME as DATABASE
from lineside.edge.data_folder import data_folder
from lineside.edge.group_config import GroupConfig
from lineside.edge.history_config import HistoryConfig
from lineside.edge.home_assistant_config import DiscoveryConfig
from lineside.edge.http_config import HttpConfig
from lineside.edge.inspect_config import InspectConfig
from lineside.edge.mcp_config import McpConfig
from lineside.edge.mqtt_config import MqttConfig
from lineside.edge.outputs_config import OutputConfig
from lineside.edge.remote_config import RemoteConfig
from lineside.edge.safety_config import SafetyConfig
from lineside.edge.sparkplug_config import SparkplugConfig
from lineside.edge.tool_config import DAY_S, STRICT, ToolConfig
from lineside.edge.triggers_config import TriggerConfig
from lineside.edge.updates_config import UpdatesConfig
from lineside.edge.vss_config import KuksaConfig, VssConfig
from lineside.edge.zigbee_config import Zigbee2MqttConfig
from lineside.runtime.defaults import CALL_ABOVE, DEFAULT_BUNDLE, WRONG_CALL_COSTS

NAME = r"^[A-Za-z0-9_-]{1,64}$"
STATION = "station"
"""Where the station itself speaks, `event/station`: no camera, tool or trigger may have that name."""
MIB = 1024 * 1024
Device = Literal["auto", "tensorrt", "cuda", "cpu"]


@dataclass(frozen=True, config=STRICT)
class StationConfig:
    """Who the station is."""

    name: Annotated[str, Field(pattern=NAME, description="a name of 1 to 64 letters, digits, _ and -")] = "station"
    """The station's name."""
    base_topic: str = ""
    """Its topics are below this one; `lineside/{name}` where it is empty."""
    data: str = ""
    """The folder of all that the station keeps, from the station file's folder: for a station file in a folder that
    cannot be written, such as `/etc/lineside`. Where it is empty everything is beside the station file; of a station in
    a git checkout it is below `$XDG_STATE_HOME/lineside` (`~/.local/state/lineside`)."""
    timezone: str = ""
    """For quiet hours, such as `Europe/Berlin`; the machine's own where it is empty."""
    drain_s: Annotated[float, Field(ge=0, le=600)] = 10.0
    """How long a station that stops leaves a running tool, and the frame under way, to end."""


@dataclass(frozen=True, config=STRICT)
class ModelConfig:
    """Which model runs, and on what."""

    bundle: str = ""
    """The bundle's folder; the default model where it is empty."""
    device: Device = "auto"
    """`auto` takes the first of `tensorrt`, `cuda` and `cpu` that works; one that is named is never replaced."""
    threads: Annotated[int, Field(ge=0)] = 0
    """CPU threads; 0 for as many as the process may use (its affinity, a container's quota)."""
    capacity: Annotated[int, Field(ge=64)] = 4096
    """The longest prompt with its answer, in tokens."""
    kv_cache_mb: Annotated[int, Field(ge=0)] = 0
    """What the KV caches of all requests may take together, of both models where `commands.bundle` is another on the
    same device; 0 for two of `capacity`, of each model."""
    temperature: Annotated[float, Field(ge=0, le=10)] = 0.15
    """How freely answers to commands are sampled; 0 takes the likeliest token. Inspections always do."""
    max_tokens: Annotated[int, Field(ge=1)] = 256
    """The longest answer to a command, in tokens."""
    seed: int = 0
    """Where the sampling begins: the same seed gives the same answer."""


@dataclass(frozen=True, config=STRICT)
class CommandConfig:
    """How commands in plain language are put to the model."""

    bundle: str = ""
    """The folder of another bundle, which commands are put to; that of `model.bundle` where it is empty."""
    device: Device | Literal[""] = ""
    """What that one runs on; `model.device` where it is empty."""

    system: str = "You control a production line. Call a function, or say that none fits."
    """What the model is told first."""
    expiry_s: Annotated[float, Field(gt=0, le=DAY_S)] = 60.0
    """How long a command lives that names no expiry."""
    rounds: Annotated[int, Field(ge=0, le=20)] = 0
    """How often the model may answer to one command: after each answer but the last it is told what came of its calls.
    0 for what the bundle says."""
    conversation_s: Annotated[float, Field(ge=0, le=DAY_S)] = 120.0
    """How long after a requester's last command its conversation is remembered, so that "stop that" can be understood;
    0 for not at all."""
    call_above: Annotated[float, Field(ge=0, le=1)] = CALL_ABOVE
    """An answer begins with a call only where the model's probability of that is at least so much."""
    phrase_files: tuple[str, ...] = ()
    """Files with phrases and words in one language each, from the station file's folder."""
    home_assistant: tuple[Literal["en", "de", "fr", "es"], ...] = ()
    """Languages in which Home Assistant's own sentences are understood, for tools that name an intent."""
    wrong_call_costs: Annotated[float, Field(gt=0, le=1e6)] = WRONG_CALL_COSTS
    """What a wrong call costs, in refusals of what was right: a call is made only where its confidence is at least
    `wrong_call_costs / (wrong_call_costs + 1)`. `lineside calibrate --commands` makes the confidence your station's."""
    tools_at_once: Annotated[int, Field(ge=0)] = 0
    """How many tools the model is shown at most, those that fit the command best by its words; 0 for as many as the
    bundle says that it was taught."""


@dataclass(frozen=True, config=STRICT)
class StoreConfig:
    """The daemon's database: what waits for the broker, and what was taken over from it."""

    path: str = ""
    """The database's file, from the data folder (`station.data`); `lineside.db` where it is empty."""
    max_messages: Annotated[int, Field(ge=10)] = 100_000
    """How many messages may wait for the broker; the oldest go first when it is full."""
    max_payload_bytes: Annotated[int, Field(ge=1024)] = 8 * MIB
    """The largest incoming message; a larger one is rejected."""


@dataclass(frozen=True, config=STRICT)
class MetricsConfig:
    """The figures of `health` as a page for Prometheus."""

    port: Annotated[int, Field(ge=0, le=65535)] = 0
    """`/metrics` on this port; 0 for no page."""
    address: Annotated[str, Field(min_length=1)] = "127.0.0.1"
    """Where it listens. Whoever reaches it reads the figures, without a password: another address than this machine's
    own is for a network that nobody else is in, such as that of a container."""


@dataclass(frozen=True, config=STRICT)
class Config:
    """The whole station file."""

    station: StationConfig = field(default_factory=StationConfig)
    mqtt: MqttConfig = field(default_factory=MqttConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    inspect: InspectConfig = field(default_factory=InspectConfig)
    commands: CommandConfig = field(default_factory=CommandConfig)
    store: StoreConfig = field(default_factory=StoreConfig)
    history: HistoryConfig = field(default_factory=HistoryConfig)
    group: GroupConfig = field(default_factory=GroupConfig)
    audit: AuditConfig = field(default_factory=AuditConfig)
    metrics: MetricsConfig = field(default_factory=MetricsConfig)
    http: HttpConfig = field(default_factory=HttpConfig)
    remote: RemoteConfig = field(default_factory=RemoteConfig)
    updates: UpdatesConfig = field(default_factory=UpdatesConfig)
    home_assistant: DiscoveryConfig | None = None
    safety: SafetyConfig = field(default_factory=SafetyConfig)
    vss: VssConfig = field(default_factory=VssConfig)
    kuksa: KuksaConfig = field(default_factory=KuksaConfig)
    cameras: dict[str, CameraConfig] = field(default_factory=dict)
    triggers: dict[str, TriggerConfig] = field(default_factory=dict)
    tools: dict[str, ToolConfig] = field(default_factory=dict)
    outputs: dict[str, OutputConfig] = field(default_factory=dict)
    mcp: dict[str, McpConfig] = field(default_factory=dict)
    zigbee2mqtt: Zigbee2MqttConfig = field(default_factory=Zigbee2MqttConfig)
    sparkplug: SparkplugConfig = field(default_factory=SparkplugConfig)
    folder: Path = field(default=Path("."))
    file: Path = field(default=Path("station.toml"))
    changed: dict[str, Any] = field(default_factory=dict)
    """Settings that were changed from outside, by key: they stand in the place of the file's."""
    installed: Path | None = None
    """The bundle that was installed in the place of `model.bundle`, where one was."""

    @property
    def base_topic(self) -> str:
        return self.station.base_topic or f"lineside/{self.station.name}"

    @property
    def group_topic(self) -> str:
        """The base topic of the group; empty where the station is in none."""
        above = self.base_topic.rpartition("/")[0]
        beside = f"{above}/groups/{self.group.name}".lstrip("/")
        return (self.group.base_topic or beside) if self.group.name else ""

    @property
    def data_path(self) -> Path:
        """The folder of all that the station keeps."""
        return self.resolve(self.station.data) if self.station.data else data_folder(self.station.name, self.folder)

    @property
    def store_path(self) -> Path:
        return self.data_path / (self.store.path or DATABASE)

    @property
    def history_path(self) -> Path:
        """The folder of the history."""
        return self.data_path / self.history.folder

    @property
    def evidence_path(self) -> Path | None:
        """The folder of pictures with their boxes drawn; None where none are kept."""
        return self.data_path / self.inspect.evidence_folder if self.inspect.evidence_folder else None

    @property
    def models_path(self) -> Path:
        """Where bundles are installed: beside the database."""
        return models_folder(self.store_path)

    @property
    def audit_path(self) -> Path:
        """The folder of the audit log."""
        return self.data_path / self.audit.folder if self.audit.folder else self.store_path.with_suffix(".audit")

    @property
    def bundle_path(self) -> Path:
        return self.installed or self.named_bundle_path

    @property
    def named_bundle_path(self) -> Path:
        """The one that the station file names."""
        return self.resolve(self.model.bundle) if self.model.bundle else DEFAULT_BUNDLE

    @property
    def commands_bundle_path(self) -> Path:
        return self.resolve(self.commands.bundle) if self.commands.bundle else self.bundle_path

    @property
    def commands_device(self) -> Device:
        return self.commands.device or self.model.device

    @property
    def calibration_path(self) -> Path:
        """Where `lineside calibrate` keeps what it fitted."""
        return self._kept("calibration.json")

    @property
    def broker_access(self) -> MqttConfig:
        """`mqtt` with its files as they are opened."""
        mqtt = self.mqtt
        ca, cert, key, password = (
            str(self.resolve(path)) if path else ""
            for path in (mqtt.ca_file, mqtt.cert_file, mqtt.key_file, mqtt.password_file)
        )
        return replace(mqtt, ca_file=ca, cert_file=cert, key_file=key, password_file=password)

    @property
    def commands_path(self) -> Path:
        """Where `lineside calibrate --commands` keeps what it fitted."""
        return self._kept("commands.json")

    @property
    def changes_path(self) -> Path:
        """Where settings that came from outside are kept."""
        return self._kept("remote.json")

    @property
    def zigbee_path(self) -> Path:
        """Where the devices of Zigbee2MQTT are kept for a start without the broker."""
        return self._kept("zigbee2mqtt.json")

    @property
    def published_path(self) -> Path:
        """Where is kept what was announced to Home Assistant."""
        return self._kept("home-assistant.json")

    def gate_path(self, camera: str) -> Path:
        """Where `lineside learn` keeps what it learnt of a camera."""
        return self._kept(f"{camera}.gate.npz")

    def looked_at_path(self, camera: str) -> Path:
        """Where a camera that watches a folder keeps what it has looked at."""
        return self._kept(f"{camera}.looked-at.db")

    def usual_path(self, camera: str) -> Path:
        """Where `lineside learn` and `lineside calibrate` keep how a camera's good pictures usually are."""
        return self._kept(f"{camera}.usual.npz")

    def resolve(self, path: str) -> Path:
        """What a station reads: relative paths are taken from the station file's folder."""
        return self.folder / path

    def _kept(self, ending: str) -> Path:
        """A file with the station file's name. One that is beside the station file already is used there, unless
        `station.data` says where it belongs."""
        name = f"{self.file.stem}.{ending}"
        beside = self.folder / name
        return beside if not self.station.data and beside.exists() else self.data_path / name
