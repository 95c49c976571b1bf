"""What counts as a broker that closes the connection over a message."""

from __future__ import annotations

from lineside.edge.wire.traffic import ClosedOver, Ending


def lost(connection: int) -> Ending:
    return Ending("lost", suspicious=True, proved=True, connection=connection)


def test_messages_that_are_lost_with_one_connection_count_once() -> None:
    over = ClosedOver()
    assert [over.add(lost(connection)) for connection in (1, 1, 1, 2)] == [1, 1, 1, 2]
    over.forget()
    assert over.add(lost(2)) == 1
