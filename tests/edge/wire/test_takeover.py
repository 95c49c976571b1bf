"""Two clients with one id: simulated minutes of it, by a clock that the test turns."""

from __future__ import annotations

import pytest

from lineside.edge.degraded import Degraded
from lineside.edge.wire.takeover import LONGEST_WAIT_S, Takeovers


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    turned = Clock()
    monkeypatch.setattr("lineside.edge.wire.takeover.time.monotonic", turned)
    return turned


def fight(clock: Clock, said: bool, seconds: float) -> tuple[int, list[Degraded]]:
    """How often one closed the other's connection; each connects a second after its wait is over."""
    degraded = [Degraded(), Degraded()]
    clients = [Takeovers("x", each) for each in degraded]
    end, count, inside = clock.now + seconds, 0, 0
    clients[0].stands()
    clock.now += 1
    while clock.now < end:
        wait_s = clients[inside].lost(said)
        inside = 1 - inside
        clients[inside].stands()
        count += 1
        clock.now += 1 + wait_s
    for client in clients:
        client.close()
    return count, degraded


@pytest.mark.parametrize(("said", "most"), [(True, 20), (False, 80)])
def test_they_do_not_fight(clock: Clock, said: bool, most: int) -> None:
    """In ten minutes; without waits it would be six hundred times."""
    count, degraded = fight(clock, said, 600)
    assert count <= most
    assert any("client id 'x'" in sentence for each in degraded for sentence in each.sentences())


def test_a_connection_that_stood_is_tried_again_at_once(clock: Clock) -> None:
    degraded = Degraded()
    client = Takeovers("x", degraded)
    for _ in range(20):
        client.stands()
        clock.now += 60
        assert client.lost(False) == 0
    assert degraded.sentences() == []


def test_a_broker_that_is_away_is_no_other_client(clock: Clock) -> None:
    degraded = Degraded()
    client = Takeovers("x", degraded)
    client.stands()
    for _ in range(20):
        clock.now += 1
        assert client.lost(False) == 0
    assert degraded.sentences() == []


def test_a_broker_that_is_killed_again_and_again_is_no_other_client(clock: Clock) -> None:
    """It accepts, is gone within seconds, and refuses for a while: the station comes back at once."""
    degraded = Degraded()
    client = Takeovers("x", degraded)
    for _ in range(10):
        client.stands()
        clock.now += 1
        assert client.lost(False) == 0
        client.unreachable()
    assert degraded.sentences() == []


def test_connections_that_this_side_cuts_are_no_other_client(clock: Clock) -> None:
    """Such as for a message that hangs past its deadline."""
    degraded = Degraded()
    client = Takeovers("x", degraded)
    for _ in range(10):
        client.stands()
        clock.now += 3
        assert client.lost(False, closed_by_broker=False) == 0
    assert degraded.sentences() == []


def test_the_wait_grows_and_ends(clock: Clock) -> None:
    client = Takeovers("x", Degraded())
    waits = []
    for _ in range(10):
        client.stands()
        clock.now += 1
        waits.append(client.lost(True))
    assert waits == [2, 4, 8, 16, 32, 64, 128, 256, LONGEST_WAIT_S, LONGEST_WAIT_S]
    client.close()
