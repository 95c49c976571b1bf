"""What became of each message: told by whoever sends, watches or acts, and added up at the end."""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

from tests.chaos.tools import Note

LATE_S = 1.0
"""MQTT counts expiry in whole seconds: a call may arrive so long after its end."""
UNDER_WAY_S = 3.0
Kind = Literal["frame", "act", "note"]


@dataclass
class Request:
    """One message to the station. Times are on `time.monotonic()`.

    Attributes:
        answers: the code of each answer by the answer's own id; empty for a result or a reply without an error. One
            that comes again has the id that it had.
        calls: ids of the calls that an actuator was told of.
        noted: how often the tool was really carried out.
        told_no: when the requester was told that the call was not carried out, and would not be.
    """

    id: str
    kind: Kind
    sent: float
    acknowledged: bool = False
    answered: float = 0.0
    answers: dict[str, str] = field(default_factory=dict)
    calls: set[str] = field(default_factory=set)
    noted: int = 0
    told_no: float = 0.0
    late: bool = False

    @property
    def twice(self) -> bool:
        return len(self.answers) > 1 or len(self.calls) > 1 or self.noted > 1


@dataclass(frozen=True)
class Sum:
    """Attributes:
    acknowledged: messages that a PUBACK was given for; the other figures are of these.
    answered: those with exactly one answer.
    refused: how many of these answers were refusals, by their code.
    """

    acknowledged: int
    answered: int
    twice: int
    lost: int
    late: int
    refused: dict[str, int]
    faults: list[str]


class Account:
    """Any thread may tell."""

    def __init__(self) -> None:
        self._requests: dict[str, Request] = {}
        self._condition = threading.Condition()

    def sent(self, request_id: str, kind: Kind) -> None:
        with self._condition:
            self._requests[request_id] = Request(request_id, kind, time.monotonic())

    def acknowledged(self, request_id: str) -> None:
        with self._condition:
            if request_id in self._requests:
                self._requests[request_id].acknowledged = True
                self._condition.notify_all()

    def answer(
        self, request_id: str, answer_id: str, code: str = "", *, late: bool = False, not_done: bool = False
    ) -> None:
        """An answer that nobody asked for is not counted: it is another run's."""
        with self._condition:
            request = self._requests.get(request_id)
            if request is not None:
                request.answers.setdefault(answer_id, code)
                request.answered = request.answered or time.monotonic()
                request.late |= late
                if not_done:
                    request.told_no = request.told_no or time.monotonic()
                self._condition.notify_all()

    def call(self, request_id: str, call_id: str, left_s: float) -> bool:
        """An actuator is told to act, `left_s` seconds before its end; True where it should.

        It should not where the requester was told already that nothing was done.
        """
        with self._condition:
            request = self._requests.get(request_id)
            if request is None:
                return False
            again = call_id in request.calls
            request.calls.add(call_id)
            request.late |= not again and (left_s < -LATE_S or bool(request.told_no))
            return not again

    def notes(self, notes: list[Note]) -> None:
        """What the tool has written down; to be told once, at the end."""
        times = Counter(note.request for note in notes)
        first = {note.request: note.at for note in reversed(notes)}
        with self._condition:
            for request_id, noted in times.items():
                if (request := self._requests.get(request_id)) is not None:
                    request.noted = noted
                    request.late |= bool(request.told_no) and first[request_id] > request.told_no + LATE_S

    def waiting(self) -> list[str]:
        """Acknowledged, and without an answer."""
        with self._condition:
            return self._waiting()

    def _waiting(self) -> list[str]:
        return [known.id for known in self._requests.values() if known.acknowledged and not known.answers]

    def open_requests(self) -> int:
        """Without an answer. What nobody has acknowledged for a while is lost, and never answered."""
        recent = time.monotonic() - UNDER_WAY_S
        with self._condition:
            known = self._requests.values()
            return sum(not one.answers and (one.acknowledged or one.sent > recent) for one in known)

    def wait_answered(self, request_ids: list[str], timeout_s: float) -> float | None:
        """When one of them was, on `time.monotonic()`; None where none is."""
        with self._condition:
            requests = [self._requests[request_id] for request_id in request_ids]
            self._condition.wait_for(lambda: any(request.answers for request in requests), timeout_s)
            return min((request.answered for request in requests if request.answers), default=None)

    def wait_settled(self, timeout_s: float) -> bool:
        """Until every message that was acknowledged has an answer."""
        with self._condition:
            return self._condition.wait_for(lambda: not self._waiting(), timeout_s)

    def wait_change(self, timeout_s: float) -> None:
        with self._condition:
            self._condition.wait(timeout_s)

    def sum(self) -> Sum:
        with self._condition:
            known = [request for request in self._requests.values() if request.acknowledged]
        refused = Counter(code for request in known for code in request.answers.values() if code)
        bad = [_describe(request) for request in known if request.twice or request.late or not request.answers]
        return Sum(
            acknowledged=len(known),
            answered=sum(len(request.answers) == 1 for request in known),
            twice=sum(request.twice for request in known),
            lost=sum(not request.answers for request in known),
            late=sum(request.late for request in known),
            refused=dict(refused),
            faults=bad,
        )


def _describe(request: Request) -> str:
    late = ", late" if request.late else ""
    return (
        f"{request.kind} {request.id}: answers {request.answers}, calls {sorted(request.calls)}, noted {request.noted}"
        f"{late}"
    )
