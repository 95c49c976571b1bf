"""MQTT 4.6: acknowledgements go out in the order in which the messages came, whatever order they are dealt with in."""

from __future__ import annotations

from lineside.edge.wire.acknowledgements import Acknowledgements, Window


def test_what_is_dealt_with_out_of_turn_waits_for_its_turn() -> None:
    sent: list[int] = []
    acknowledgements = Acknowledgements(lambda mid, _qos: sent.append(mid), Window(), lambda: None)
    acknowledgements.begin_connection()
    first, second, third = (acknowledgements.take(mid, 1, 10) for mid in (7, 8, 9))
    second()
    second()
    assert sent == []
    first()
    assert sent == [7, 8]
    third()
    assert sent == [7, 8, 9]


def test_what_waits_for_its_turn_takes_up_no_room() -> None:
    room: list[bool] = []
    acknowledgements = Acknowledgements(lambda _mid, _qos: None, Window(messages=2), lambda: room.append(True))
    acknowledgements.begin_connection()
    _, second = (acknowledgements.take(mid, 1, 10) for mid in (1, 2))
    assert acknowledgements.is_full()
    second()
    assert not acknowledgements.is_full()
    assert room


def test_the_turns_of_a_connection_end_with_it() -> None:
    sent: list[int] = []
    acknowledgements = Acknowledgements(lambda mid, _qos: sent.append(mid), Window(), lambda: None)
    acknowledgements.begin_connection()
    first, second = (acknowledgements.take(mid, 1, 10) for mid in (1, 2))
    second()
    acknowledgements.end_connection()
    acknowledgements.begin_connection()
    again = acknowledgements.take(1, 1, 10)
    first()
    assert sent == []
    again()
    assert sent == [1]
