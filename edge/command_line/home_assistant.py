"""`lineside home-assistant`: what a station announces there, and taking it back."""

from __future__ import annotations

import argparse
import dataclasses
import json
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

from lineside.edge.errors import BrokerError

if TYPE_CHECKING:
    from lineside.edge.config import Config

PATIENCE_S = 30.0


def home_assistant(options: argparse.Namespace) -> int:
    from lineside.edge.station_file import load_config

    path: Path = options.station
    config = load_config(path / "station.toml" if path.is_dir() else path)
    return _remove(config) if options.remove else _show(config)


def _show(config: Config) -> int:
    """Tools of servers are not known before the station runs."""
    from lineside.edge.integrations.home_assistant.devices import devices_of

    if config.home_assistant is None:
        print("the station file has no [home_assistant]: nothing is announced")
    for topic, device in devices_of(config, None).items():
        print(topic)
        print(json.dumps(json.loads(device.encode({})), indent=2, ensure_ascii=False))
    return 0


def _remove(config: Config) -> int:
    """Raises BrokerError where the broker has not taken it in."""
    from lineside.edge.counters import Counters
    from lineside.edge.degraded import Degraded
    from lineside.edge.integrations.home_assistant.link import HomeAssistantLink
    from lineside.edge.integrations.home_assistant.published import Published

    topics = Published(config.published_path).topics
    if not topics:
        print("nothing of this station was announced to Home Assistant")
        return 0
    mqtt = dataclasses.replace(config.mqtt, session_expiry_s=0)
    nobody = dataclasses.replace(config, mqtt=mqtt, home_assistant=None)
    client_id = config.mqtt.client_id or f"lineside-{config.station.name}"
    degraded = Degraded()
    link = HomeAssistantLink(
        lambda: nobody, f"{client_id}-remove", Counters(), degraded, lambda _name, _present: uuid.uuid4().hex
    )
    link.start()
    try:
        if not link.nothing_left.wait(PATIENCE_S):
            why = "; ".join(degraded.sentences()) or f"no answer within {PATIENCE_S:g} s"
            raise BrokerError(f"not all was taken back, try again: {why}")
    finally:
        link.close()
    print("\n".join(f"taken back: {topic}" for topic in topics))
    if config.home_assistant is not None:
        print("a station that runs announces itself again: take [home_assistant] out of the station file")
    return 0
