"""All devices of a station."""

from __future__ import annotations

from lineside.edge.config import Config
from lineside.edge.integrations.home_assistant.camera_device import camera_device, trigger_device
from lineside.edge.integrations.home_assistant.device import Device
from lineside.edge.integrations.home_assistant.ids import discovery_topic
from lineside.edge.integrations.home_assistant.offer import Offer
from lineside.edge.integrations.home_assistant.station_device import station_device
from lineside.edge.integrations.home_assistant.tool_components import add_tools


def devices_of(config: Config, offer: Offer | None) -> dict[str, Device]:
    """By discovery topic, the station first; none where the station file has no `[home_assistant]`.

    Args:
        offer: the model that waits, or one without a hash where there is a place and nothing new in it.
    """
    announced = config.home_assistant
    if announced is None:
        return {}
    station = station_device(config, offer)
    add_tools(station, config)
    names = config.cameras if announced.cameras is None else [n for n in announced.cameras if n in config.cameras]
    shown = set(names)
    triggers = [name for name, trigger in config.triggers.items() if shown.issuperset(trigger.cameras)]
    devices = [
        station,
        *(camera_device(config, name) for name in names),
        *(trigger_device(config, name) for name in triggers),
    ]
    return {discovery_topic(announced.discovery_prefix, device.id): device for device in devices}
