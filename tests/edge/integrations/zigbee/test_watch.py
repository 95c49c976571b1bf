"""What Zigbee2MQTT says while the station runs, and what is refused because of it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lineside.edge.degraded import Degraded
from lineside.edge.integrations.zigbee.watch import DeviceWatch
from tests.support.zigbee import BASE, EXPOSES, devices, groups

NAMES = ("kitchen_lamp", "hall/ceiling", "lamps")


@pytest.fixture
def watch() -> DeviceWatch:
    """As it is behind the start."""
    found = DeviceWatch(BASE, NAMES, Degraded())
    hear(found)
    found.pin(found.listing or {})
    return found


def hear(watch: DeviceWatch, exposes: dict[str, Any] | None = None) -> None:
    watch.take(f"{BASE}/bridge/groups", groups())
    watch.take(f"{BASE}/bridge/devices", devices(exposes))


def said(watch: DeviceWatch) -> list[str]:
    return watch._degraded.sentences()


def test_nothing_is_refused_while_all_is_as_it_was(watch: DeviceWatch) -> None:
    hear(watch)
    assert set(watch.first) == set(NAMES)
    assert [watch.refusal(name) for name in NAMES] == ["", "", ""]
    assert said(watch) == []


def test_a_device_that_can_do_something_else_is_not_called_even_if_it_changes_back(watch: DeviceWatch) -> None:
    other = json.loads(json.dumps(EXPOSES))
    other["kitchen_lamp"][0]["features"][1]["value_max"] = 1000
    hear(watch, other)
    assert "has changed since the station started" in watch.refusal("kitchen_lamp")
    assert "has changed" in watch.refusal("lamps"), "its group, too"
    assert watch.refusal("hall/ceiling") == ""
    hear(watch)
    assert watch.refusal("kitchen_lamp")
    assert any("zigbee2mqtt.devices.kitchen_lamp is not called" in sentence for sentence in said(watch))


def test_a_device_that_is_gone_is_not_called_until_it_is_back(watch: DeviceWatch) -> None:
    hear(watch, {name: each for name, each in EXPOSES.items() if name != "hall/ceiling"})
    assert "does not list hall/ceiling any more" in watch.refusal("hall/ceiling")
    assert any("hall/ceiling is not called" in sentence for sentence in said(watch))
    hear(watch)
    assert watch.refusal("hall/ceiling") == ""
    assert said(watch) == []


@pytest.mark.parametrize("payload", [b"offline", b'{"state": "offline"}'])
def test_a_device_that_is_offline_is_not_called_and_its_state_is_forgotten(watch: DeviceWatch, payload: bytes) -> None:
    forgotten: list[str] = []
    watch.forget = forgotten.append
    watch.take(f"{BASE}/hall/ceiling/availability", payload)
    assert watch.refusal("hall/ceiling") == "hall/ceiling is offline: nothing was sent"
    assert forgotten == [f"{BASE}/hall/ceiling"]
    assert said(watch) == ["zigbee2mqtt.devices.hall/ceiling is offline"]
    watch.take(f"{BASE}/hall/ceiling/availability", b'{"state": "online"}')
    assert watch.refusal("hall/ceiling") == ""
    assert said(watch) == []


def test_without_zigbee2mqtt_nothing_is_called(watch: DeviceWatch) -> None:
    watch.take(f"{BASE}/bridge/state", b'{"state": "offline"}')
    assert watch.refusal("kitchen_lamp") == "Zigbee2MQTT is offline: nothing was sent"
    assert said(watch) == ["Zigbee2MQTT is offline"]


def test_what_cannot_be_read_leaves_the_last_list(watch: DeviceWatch) -> None:
    watch.take(f"{BASE}/bridge/devices", b"{")
    assert watch.refusal("kitchen_lamp") == ""
    assert "bridge/devices is not JSON" in said(watch)[0]
    hear(watch)
    assert said(watch) == []


def test_groups_that_come_later_are_waited_for() -> None:
    watch = DeviceWatch(BASE, NAMES, Degraded())
    watch.take(f"{BASE}/bridge/devices", devices())
    assert not watch.is_complete
    watch.take(f"{BASE}/bridge/groups", groups())
    assert watch.is_complete
