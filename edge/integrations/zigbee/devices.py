"""The devices of a station: read at its start, kept on disk, watched while it runs."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from lineside.edge.calls.bindings import Done
from lineside.edge.calls.bindings.publish import PublishBinding
from lineside.edge.config import Config
from lineside.edge.integrations.zigbee.listing import to_file
from lineside.edge.integrations.zigbee.offered import ABOUT, kept_listing, with_devices
from lineside.edge.integrations.zigbee.watch import DeviceWatch
from lineside.edge.lasting import replace_file
from lineside.edge.tool_config import ToolConfig
from lineside.edge.tool_templates import payload_template
from lineside.edge.wire.access import Access
from lineside.edge.wire.identity import without_mark
from lineside.edge.wire.mqtt import Connection
from lineside.edge.wire.traffic import Message
from lineside.edge.zigbee_config import ZigbeeToolConfig
from lineside.runtime.chat import ToolCall

log = logging.getLogger("lineside.zigbee2mqtt")
REFUSED = "device_unavailable"


class ZigbeeDevices:
    """Reads the devices of `config` when it is made, for `zigbee2mqtt.start_s` at most.

    Where the broker does not answer, those of the last start are taken, and `degraded` says so.
    """

    def __init__(self, config: Config, access: Access) -> None:
        self._config, self._access = config, access
        section = config.zigbee2mqtt
        self.watch = DeviceWatch(section.base_topic, section.devices, access.degraded)
        self._heard, self._trouble = threading.Event(), ""
        self._link: Connection | None = None
        self._read()

    def _read(self) -> None:
        """Through a connection that is closed again: the station's broker is not chosen yet."""
        section, listing = self._config.zigbee2mqtt, None
        connection = self._connect(None)
        connection.start()
        try:
            self._heard.wait(section.start_s)
            listing = self.watch.listing
        finally:
            connection.stop()
        if listing is not None:
            self._keep(to_file(listing, section.base_topic))
        else:
            listing, nothing = kept_listing(self._config)
            why = self._trouble or f"{section.base_topic}/bridge/devices said nothing within {section.start_s:g} s"
            then = f"none are offered: {nothing}" if nothing else "their tools are those of the last start"
            self._access.degraded.set(
                f"{ABOUT}.start", f"the devices of {section.base_topic} are not known: {why}; {then}"
            )
            log.warning("the devices of %s are not known: %s; %s", section.base_topic, why, then)
        self.watch.pin(listing)

    def _keep(self, content: bytes) -> None:
        path = self._config.zigbee_path
        try:
            if not path.exists() or path.read_bytes() != content:
                replace_file(path, content)
        except OSError as error:
            log.warning("%s cannot be written (%s): a start without the broker has no devices", path, error.strerror)

    def _connect(self, leader: Connection | None) -> Connection:
        return Connection(
            self._config.broker_access,
            f"{self._access.client_id}-zigbee",
            "",
            [(topic, 0) for topic in self.watch.topics],
            self._take,
            self._stands,
            self._access.counters,
            session_mark=self._access.session_mark,
            degraded=self._access.degraded,
            on_trouble=self._lost,
            leader=leader,
        )

    def with_tools(self, config: Config) -> Config:
        """Raises ConfigError where the station file changes a device's tool into none."""
        config, problems = with_devices(config, self.watch.first)
        for key, sentence in problems.items():
            self._access.degraded.set(key, sentence)
            log.warning("%s", sentence)
        return config

    def follow(self, leader: Connection | None, forget: Callable[[str], None]) -> None:
        """Watch from `start` on, at the broker of `leader`; `forget` is called with the topic of what is offline."""
        self.watch.forget = forget
        self._link = self._connect(leader)

    def start(self) -> None:
        if self._link is not None:
            self._link.start()

    def connect_now(self) -> None:
        """The broker is there: do not wait with the next attempt."""
        if self._link is not None:
            self._link.connect_now()

    def close(self) -> None:
        if self._link is not None:
            self._link.stop()

    # On the network thread

    def _take(self, message: Message) -> None:
        try:
            self.watch.take(message.topic, without_mark(message.payload))
            if self.watch.is_complete:
                self._heard.set()
        finally:
            message.acknowledge()

    def _stands(self) -> None:
        self._trouble = ""
        self._access.degraded.clear(f"{ABOUT}.link")

    def _lost(self, cause: str) -> None:
        self._trouble = cause
        if self._link is not None:
            self._access.degraded.set(f"{ABOUT}.link", f"what becomes of Zigbee2MQTT's devices is not known: {cause}")
        elif self._config.zigbee_path.exists():
            self._heard.set()  # what was kept is there: the start waits for no broker


class ZigbeeBinding(PublishBinding):
    """Publishes as `publish` does, where the device is there and is what it was."""

    def __init__(self, devices: ZigbeeDevices, connection: Connection) -> None:
        super().__init__({}, connection)
        self._devices = devices

    def invoke(self, call: ToolCall, tool: ToolConfig, waiting: Callable[[], None]) -> Done:
        """As `edge.calls.bindings.Binding`; `refused` with a sentence where the device is not there."""
        device = tool.device if isinstance(tool, ZigbeeToolConfig) else ""
        if refusal := self._devices.watch.refusal(device):
            return Done("refused", refusal, code=REFUSED)
        self._render[call.name] = payload_template(call.name, tool)
        return super().invoke(call, tool, waiting)
