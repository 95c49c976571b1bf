"""The tools of devices for commands that ask no broker: as the last start of the station has kept them."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lineside.edge.config import Config


def with_known_devices(config: Config) -> Config:
    """Raises ConfigError where the station file changes a device's tool into none. What is not known is a warning."""
    if not config.zigbee2mqtt.devices:
        return config
    from lineside.edge.integrations.zigbee.offered import with_kept_devices

    config, warnings = with_kept_devices(config)
    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr)
    return config
