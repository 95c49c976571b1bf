"""The kinds of faults, how often each is injected, on which broker."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.chaos import faults
from tests.chaos.brokers import EMBEDDED, MOSQUITTO
from tests.chaos.malformed import send_malformed
from tests.chaos.rig import Rig


@dataclass(frozen=True)
class Kind:
    """Attributes:
    count: by broker.
    """

    name: str
    inject: Callable[[Rig, int], None]
    count: dict[str, int]
    rig: dict[str, Any] = field(default_factory=dict)


KINDS = (
    Kind("broker killed", faults.kill_brokers, {MOSQUITTO: 20, EMBEDDED: 20}, {"tapped": True}),
    Kind("daemon killed", faults.kill_daemons, {MOSQUITTO: 70, EMBEDDED: 20}),
    Kind("daemon stopped", faults.stop_daemons, {MOSQUITTO: 10}),
    Kind("link cut", faults.cut_links, {MOSQUITTO: 60, EMBEDDED: 60}),
    Kind("packet torn", faults.tear_packets, {MOSQUITTO: 40, EMBEDDED: 20}),
    Kind("half-open, 5 to 120 s", faults.half_open, {MOSQUITTO: 6, EMBEDDED: 3}),
    Kind("half-open, shortly", faults.half_open_shortly, {MOSQUITTO: 20, EMBEDDED: 20}),
    Kind("stalled", faults.stall, {MOSQUITTO: 10, EMBEDDED: 10}),
    Kind("1 kB/s", faults.slow_down, {MOSQUITTO: 3}),
    Kind("PUBACK 0x87", faults.refuse_by_rules, {MOSQUITTO: 10}),
    Kind("PUBACK 0x97", faults.refuse_by_quota, {MOSQUITTO: 10, EMBEDDED: 10}),
    Kind("disk full", faults.fill_disk, {MOSQUITTO: 10}),
    Kind("clock set", faults.set_clock, {MOSQUITTO: 14}, {"clock": True}),
    Kind("malformed", send_malformed, {MOSQUITTO: 20_000, EMBEDDED: 2_000}),
)
