"""Messages that no station can read, spread over every topic: each that names itself is refused with a reason."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass

from tests.chaos.rig import Rig
from tests.chaos.station import TOPICS
from tests.chaos.traffic import PICTURE, Traffic

KINDS = ("frame", "cmd", "ret", "confirm")
NAMES = ("cam0", "ask", "act", "nobody", "a" * 200, "ü", "%s")
MOST_OPEN = 200
ODD_PART = "\ufeff"
"""In a user property: paho cannot read it."""
SHA256 = "0" * 64


@dataclass(frozen=True)
class Malformed:
    """`named`: whether the station can tell whom to answer."""

    topic: str
    payload: bytes
    qos: int
    user: dict[str, str]

    @property
    def named(self) -> bool:
        kind = self.topic.removeprefix(f"{TOPICS.base}/").partition("/")[0]
        return self.qos == 1 and kind in ("frame", "cmd") and ODD_PART not in self.user


def payloads(rng: random.Random) -> list[bytes]:
    """One of each kind."""
    noise = rng.randbytes(rng.randrange(1, 200))
    reference = {"path": rng.choice(("a\x00b", "../../etc/passwd", "missing.jpg", "/dev/zero", "x" * 5000))}
    return [
        b"",
        noise,
        PICTURE[: rng.randrange(1, len(PICTURE))],
        b"\x89PNG\r\n\x1a\n" + noise,
        b"\xff\xd8\xff\xe0" + noise,
        b"[" * rng.choice((10, 100_000)),
        b'{"text": "act now",}',
        b'{"text": ' + json.dumps("x" * rng.randrange(9000)).encode() + b', "unknown": 1}',
        b'{"id": "r1", "outcome": "perhaps"}',
        b'{"id": 7, "confirmed": "yes"}',
        b"\xef\xbb\xbf{",
        "half \ud800".encode("utf-8", "surrogatepass"),
        b"act\x00 now",
        json.dumps(reference | {"sha256": SHA256}).encode(),
        json.dumps(reference).encode(),
        b"1e999",
        b"9" * 5000,
    ]


def messages(rng: random.Random, count: int) -> Iterator[Malformed]:
    """Every topic and payload in turn, in an order that is drawn."""
    for _ in range(count):
        kind, name = rng.choice(KINDS), rng.choice(NAMES)
        user = {}
        if rng.random() < 0.1:
            user["captured_at"] = rng.choice(("yesterday", "0001-01-01T00:00:00Z", "2026-01-01"))
        if rng.random() < 0.02:
            user[ODD_PART] = "x"
        yield Malformed(f"{TOPICS.base}/{kind}/{name}", rng.choice(payloads(rng)), int(rng.random() < 0.7), user)


def send_malformed(rig: Rig, count: int) -> None:
    """Beside the ordinary traffic, as fast as it is answered."""
    for message in messages(rig.rng, count):
        while rig.account.open_requests() > MOST_OPEN:
            rig.account.wait_change(0.2)
        _send(rig.traffic, message)
    rig.recovered()
    rig.row.injected = count


def _send(traffic: Traffic, message: Malformed) -> None:
    traffic.send_raw(message.topic, message.payload, message.qos, message.user, counts=message.named)
