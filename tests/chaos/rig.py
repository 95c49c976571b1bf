"""Broker, link, station and traffic, put together for one kind of fault; and the row that came of it."""

from __future__ import annotations

import math
import random
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.chaos.account import Account, Kind
from tests.chaos.brokers import EMBEDDED, Embedded, open_broker
from tests.chaos.station import Station
from tests.chaos.tools import read_notes
from tests.chaos.traffic import EVERY_KIND, MOST_OPEN, Traffic, ask_and_wait
from tests.chaos.watcher import Tap, Watcher
from tests.support.broker import Mosquitto
from tests.support.proxy import Proxy

RECOVERY_LIMIT_S = 180.0
SETTLED_LIMIT_S = 120.0
CALM_S = 5.0


@dataclass
class Row:
    """One kind of fault, in figures.

    Attributes:
        recovery_s: of each injection, from its end to the answer to a request that was sent then.
        faults: what was wrong, by request.
    """

    kind: str
    broker: str
    seed: int
    injected: int = 0
    acknowledged: int = 0
    answered: int = 0
    twice: int = 0
    lost: int = 0
    late: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    recovery_s: list[float] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    note: str = ""

    @property
    def good(self) -> bool:
        return not (self.twice or self.lost or self.late or self.faults)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


class Rig:
    """One running station under traffic.

    Attributes:
        rng: everything that is chosen is chosen by it.
        calm_s: at most so long it is left alone between two faults that it needs time to get over.
    """

    def __init__(
        self, row: Row, broker: Mosquitto | Embedded, proxy: Proxy, station: Station, traffic: Traffic, calm_s: float
    ) -> None:
        self.row, self.calm_s = row, calm_s
        self.rng = random.Random(row.seed)
        self.broker, self.proxy, self.station, self.traffic = broker, proxy, station, traffic

    @property
    def account(self) -> Account:
        return self.traffic.account

    def pause(self, most_s: float = 0.4) -> None:
        """Into the middle of whatever is going on."""
        time.sleep(self.rng.uniform(0.0, most_s))

    def recovered(self) -> None:
        """The fault is over: count it, and wait until the station answers."""
        self.row.injected += 1
        self.row.recovery_s.append(round(ask_and_wait(self.traffic, RECOVERY_LIMIT_S), 3))

    def settle(self) -> None:
        """No new requests; wait for every answer that is owed, and add up."""
        self.traffic.stop()
        self.account.wait_settled(SETTLED_LIMIT_S)
        ask_and_wait(self.traffic, RECOVERY_LIMIT_S)
        self.account.notes(read_notes(self.station.notes))
        total = self.account.sum()
        for name in ("acknowledged", "answered", "twice", "lost", "late", "refused"):
            setattr(self.row, name, getattr(total, name))
        self.row.faults += total.faults


@contextmanager
def rig(
    row: Row,
    *,
    tapped: bool = False,
    clock: bool = False,
    calm_s: float = CALM_S,
    kinds: tuple[Kind, ...] = EVERY_KIND,
    most_open: int = MOST_OPEN,
    **station_keys: Any,
) -> Iterator[Rig]:
    """A station that is online, with traffic. The sums are in `row` when it ends, whatever ended it."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="chaos-")))
        broker = open_broker(row.broker, folder)
        stack.callback(broker.stop)
        account = Account()
        station = Station(folder, 0, **station_keys)
        watcher = Watcher(account, math.inf if clock else station.max_age_s)
        proxy = Proxy(broker.port, Tap(account, watcher) if tapped else None)
        stack.callback(proxy.close)
        station.port = proxy.port
        if clock:
            station.clock = folder / "clock"
            station.clock.write_text("+0")
        rng = random.Random(row.seed + 1)
        unmarked = not tapped and row.broker != EMBEDDED
        traffic = Traffic(
            broker.port,
            account,
            watcher,
            rng,
            unmarked=unmarked,
            tapped=tapped,
            kinds=kinds,
            most_open=most_open,
            clock_is_right=not clock,
        )
        stack.callback(traffic.close)
        running = Rig(row, broker, proxy, station, traffic, calm_s)
        station.start()
        stack.callback(station.kill)
        traffic.start()
        ask_and_wait(traffic, RECOVERY_LIMIT_S)
        try:
            yield running
        finally:
            running.settle()
