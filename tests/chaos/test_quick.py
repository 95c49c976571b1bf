"""The quick form of `make chaos`: each kind of fault once or twice, and the same account."""

from __future__ import annotations

from tests.chaos import faults
from tests.chaos.brokers import MOSQUITTO
from tests.chaos.malformed import send_malformed
from tests.chaos.rig import Row, rig

SEED = 20261129


def test_nothing_is_lost_nothing_late_and_nothing_done_twice() -> None:
    """Two stations: one whose broker forgets, one with everything else. A fault's turn comes when the station has got
    over the one before.
    """
    forgetful, steady = Row("link and broker", MOSQUITTO, SEED), Row("all else", MOSQUITTO, SEED)
    with rig(forgetful, tapped=True, calm_s=0.4) as running:
        faults.cut_links(running, 1)
        faults.tear_packets(running, 1)
        faults.kill_brokers(running, 1)
        faults.kill_daemons(running, 1)
    with rig(steady, clock=True, calm_s=0.4) as running:
        faults.half_open_shortly(running, 1)
        faults.stall(running, 1)
        faults.slow_down(running, 1)
        faults.refuse_by_rules(running, 1)
        faults.refuse_by_quota(running, 1)
        faults.fill_disk(running, 1)
        faults.set_clock(running, 3)
        send_malformed(running, 200)
    for row in (forgetful, steady):
        print(row)  # noqa: T201
        assert row.acknowledged > 20
        assert (row.twice, row.lost, row.late, row.faults) == (0, 0, 0, []), row
