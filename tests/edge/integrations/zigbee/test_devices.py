"""The devices at a station's start, with a real broker and without."""

from __future__ import annotations

from pathlib import Path

import pytest

from lineside.edge.config import Config
from lineside.edge.counters import Counters
from lineside.edge.degraded import Degraded
from lineside.edge.integrations.zigbee.devices import ZigbeeDevices
from lineside.edge.wire.access import Access
from lineside.edge.zigbee_config import Zigbee2MqttConfig, ZigbeeDeviceConfig
from tests.support.broker import Mosquitto
from tests.support.station import station
from tests.support.wait import LIMIT_S, until
from tests.support.zigbee import BASE, Bridge


def home(broker: Mosquitto, folder: Path, start_s: float = LIMIT_S) -> Config:
    named = {"kitchen_lamp": ZigbeeDeviceConfig(), "lamps": ZigbeeDeviceConfig(), "attic": ZigbeeDeviceConfig()}
    return station(broker.port, folder, tools={}, zigbee2mqtt=Zigbee2MqttConfig(devices=named, start_s=start_s))


def read(config: Config, degraded: Degraded) -> ZigbeeDevices:
    return ZigbeeDevices(config, Access("lineside-test", lambda *_: "", Counters(), degraded))


def test_a_start_without_the_broker_has_the_devices_of_the_last(
    broker: Mosquitto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And says so, until Zigbee2MQTT has listed them again."""
    monkeypatch.setattr("lineside.edge.wire.network.FIRST_WAIT_S", 0.05)
    bridge, config, degraded = Bridge(broker.port), home(broker, tmp_path), Degraded()
    first = read(config, degraded).with_tools(config).tools
    assert {"set_kitchen_lamp_state", "set_lamps_state"} <= set(first)
    missing = "zigbee2mqtt.devices.attic is not offered: Zigbee2MQTT lists no device and no group of that name"
    assert degraded.sentences() == [missing]
    bridge.close()
    broker.stop()

    degraded = Degraded()
    devices = read(config, degraded)
    assert devices.with_tools(config).tools == first
    said = degraded.sentences()
    assert any("nothing listens there; their tools are those of the last start" in sentence for sentence in said)
    assert devices.watch.refusal("kitchen_lamp") == ""

    devices.follow(None, lambda _topic: None)
    devices.start()
    broker.start()
    again = Bridge(broker.port)
    until(lambda: degraded.sentences() == [missing])
    again.close()
    devices.close()


def test_a_first_start_that_hears_nothing_has_none(broker: Mosquitto, tmp_path: Path) -> None:
    config, degraded = home(broker, tmp_path, start_s=0.2), Degraded()
    assert read(config, degraded).with_tools(config).tools == {}
    (said,) = degraded.sentences()
    assert f"the devices of {BASE} are not known: {BASE}/bridge/devices said nothing within 0.2 s" in said
    assert "none are offered" in said
    assert not config.zigbee_path.exists()
