"""Whether the daemon keeps what it should let go: its resident memory over many messages, malformed ones too."""

from __future__ import annotations

import random
from dataclasses import dataclass

from tests.chaos.malformed import MOST_OPEN, messages
from tests.chaos.rig import Rig
from tests.chaos.station import TOPICS
from tests.chaos.traffic import PICTURE

WARM_UP = 0.1
"""The share of the messages before the first look: queues and caches have their size then."""


@dataclass(frozen=True)
class Memory:
    """Megabytes that stay resident, after the first tenth of the messages and after all."""

    messages: int
    before_mb: float
    after_mb: float


def flood(rig: Rig, count: int) -> Memory:
    """Four messages in five are frames with QoS 0 and 1, the fifth is malformed."""
    rng = random.Random(rig.row.seed)
    odd = messages(rng, count)
    before_mb = 0.0
    for number in range(count):
        while rig.account.open_requests() > MOST_OPEN:
            rig.account.wait_change(0.2)
        if number % 5 == 0:
            message = next(odd)
            rig.traffic.send_raw(message.topic, message.payload, message.qos, message.user, counts=message.named)
        elif number % 5 == 1:
            rig.traffic.send("frame")
        else:
            rig.traffic.send_raw(TOPICS.frame("cam0"), PICTURE, 0, {}, counts=False)
            rig.traffic.wait_sent()
        if number == int(count * WARM_UP):
            rig.recovered()
            before_mb = rig.station.resident_mb()
    rig.recovered()
    rig.row.injected = count
    return Memory(count, round(before_mb, 1), round(rig.station.resident_mb(), 1))
