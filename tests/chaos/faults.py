"""What is done to a station under traffic, one function a kind: each injects `count` times, and waits for recovery."""

from __future__ import annotations

import time

from tests.chaos.rig import Rig
from tests.chaos.station import TOPICS
from tests.chaos.traffic import ask_and_wait
from tests.support.broker import Mosquitto
from tests.support.packets import puback, published_topic

EVERYBODY = "topic readwrite #\n"
MUTE = "".join(f"topic read {TOPICS.base}/{name}\n" for name in ("result/#", "rsp/#", "call/#", "event/#")) + (
    f"topic readwrite {TOPICS.base}/frame/#\ntopic readwrite {TOPICS.base}/cmd/#\n"
    f"topic readwrite {TOPICS.base}/ret/#\ntopic readwrite {TOPICS.base}/status\n"
)
QUOTA_EXCEEDED = 0x97
HALF_OPEN_S = (5.0, 10.0, 20.0, 40.0, 62.0, 120.0)
CLOCK_ERRORS = ("+3600", "-3600", "+86400", "-86400", "-30", "+30", "+0")
FULL_BYTES = 4096


def kill_brokers(rig: Rig, count: int) -> None:
    """Every third time it has forgotten everything when it comes back."""
    for number in range(count):
        rig.pause()
        rig.broker.stop()
        if isinstance(rig.broker, Mosquitto) and number % 3 == 2:
            rig.broker.forget()
        rig.pause(rig.calm_s)
        rig.broker.start()
        rig.recovered()


def kill_daemons(rig: Rig, count: int) -> None:
    """Also while it starts: half of the kills come before it can be online."""
    for _ in range(count):
        if rig.rng.random() < 0.5:
            rig.station.kill()
            rig.pause(0.2)
            rig.station.start()
            rig.pause(3.0)
        else:
            rig.pause(1.0)
        rig.station.kill()
        rig.station.start()
        rig.recovered()


def stop_daemons(rig: Rig, count: int) -> None:
    """Asked to end, as the service manager does it."""
    for _ in range(count):
        rig.pause()
        code = rig.station.terminate()
        if code:
            rig.row.faults.append(f"the daemon ended with {code}")
        rig.station.start()
        rig.recovered()


def cut_links(rig: Rig, count: int) -> None:
    for _ in range(count):
        rig.pause(rig.calm_s)
        rig.proxy.cut()
        rig.recovered()


def tear_packets(rig: Rig, count: int) -> None:
    for _ in range(count):
        rig.pause(rig.calm_s)
        before = rig.proxy.connections
        rig.proxy.tear(rig.rng.randrange(1, 5000))
        rig.proxy.wait_for_connections(before + 1)
        rig.recovered()


def half_open(rig: Rig, count: int) -> None:
    """Bytes vanish, in one direction or the other or in both, and the connection still stands."""
    for number in range(count):
        rig.pause()
        which = rig.rng.choice(("up", "down", "both"))
        rig.proxy.lose_up, rig.proxy.lose_down = which != "down", which != "up"
        time.sleep(HALF_OPEN_S[number % len(HALF_OPEN_S)])
        rig.proxy.cut()
        rig.recovered()


def half_open_shortly(rig: Rig, count: int) -> None:
    """As long as it takes to do what came in meanwhile: paced by that."""
    for _ in range(count):
        rig.proxy.lose_up = True
        ids = [rig.traffic.send(kind) for kind in ("frame", "act", "note")]
        assert all(ids)
        rig.pause(rig.calm_s)
        rig.proxy.cut()
        rig.recovered()


def stall(rig: Rig, count: int) -> None:
    """Nothing moves, and nothing is lost."""
    for _ in range(count):
        rig.pause()
        for flow in (rig.proxy.to_broker, rig.proxy.to_client):
            flow.clear()
        rig.pause(2 * rig.calm_s)
        for flow in (rig.proxy.to_broker, rig.proxy.to_client):
            flow.set()
        rig.recovered()


def slow_down(rig: Rig, count: int) -> None:
    """1 kB/s each way, until a frame and a command that were sent then are answered all the same."""
    for _ in range(count):
        rig.traffic.rests.set()
        rig.proxy.bytes_per_s = 1000
        ask_and_wait(rig.traffic, 180.0)
        rig.proxy.bytes_per_s = 0
        rig.traffic.rests.clear()
        rig.recovered()


def refuse_by_rules(rig: Rig, count: int) -> None:
    """Mosquitto's access rules, changed under the live connection: PUBACK 0x87."""
    assert isinstance(rig.broker, Mosquitto)
    for _ in range(count):
        rig.broker.restrict(MUTE)
        rig.pause(2.0)
        rig.broker.restrict(EVERYBODY)
        rig.recovered()


def refuse_by_quota(rig: Rig, count: int) -> None:
    """PUBACK 0x97, given by the proxy in the broker's place."""
    said = tuple(f"{TOPICS.base}/{name}" for name in ("result/", "rsp/", "call/", "event/"))
    for _ in range(count):
        rig.proxy.judge = lambda packet: (
            puback(packet, QUOTA_EXCEEDED) if published_topic(packet).startswith(said) else None
        )
        rig.pause(2.0)
        rig.proxy.judge = None
        rig.recovered()


def fill_disk(rig: Rig, count: int) -> None:
    """No file can grow: each write of the database fails."""
    for _ in range(count):
        rig.station.limit_files(FULL_BYTES)
        rig.pause(2.0)
        rig.station.limit_files(None)
        rig.recovered()


def set_clock(rig: Rig, count: int) -> None:
    """The daemon's; that of the requesters stands."""
    assert rig.station.clock is not None
    for number in range(count):
        rig.station.clock.write_text(CLOCK_ERRORS[number % len(CLOCK_ERRORS)])
        rig.pause()
        rig.recovered()
