"""Takes triggers over, each once: from messages, and from sources with a wire of their own."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial

from pydantic import ValidationError

from lineside.devices.triggers.trigger import Moment
from lineside.edge.counters import Counters
from lineside.edge.errors import RequestError, StoreError
from lineside.edge.frames.part import Part
from lineside.edge.steady import moment_of, unix_time
from lineside.edge.triggers.collector import Collector
from lineside.edge.triggers.events import TriggerEvents
from lineside.edge.triggers.gathering import Gathering
from lineside.edge.triggers_config import TriggerConfig
from lineside.edge.wire.identity import request_id, without_mark
from lineside.edge.wire.traffic import Message
from lineside.edge.wire.trigger_messages import TriggerRequest
from lineside.edge.wire.trigger_store import Arriving, StoredTrigger, Taken, TriggerStore

log = logging.getLogger("lineside.triggers")
HELD_BYTES = 512 * 1024 * 1024
"""Of pictures that wait for the model, of all triggers together; one more trigger is refused."""


@dataclass(frozen=True)
class _Come:
    """A trigger on its way to the store; `taken` is called when it was taken over, or answered with an event."""

    arriving: Arriving
    moment: float
    taken: Callable[[], None]
    problem: RequestError | None = None
    lasting: bool = True
    moment_known: bool = True
    announced: object = None


class Room:
    """How many triggers may still be taken: `waiting` have no result yet."""

    def __init__(self, triggers: Mapping[str, TriggerConfig], waiting: Counter[str], held_bytes: int) -> None:
        self._triggers, self._waiting, self._held_bytes = triggers, waiting, held_bytes

    def problem(self, name: str) -> RequestError | None:
        """Why no more of this name is taken; None where one is, which then waits."""
        most = self._triggers[name].max_waiting
        if self._waiting[name] >= most:
            waits = f"{most} parts wait already (`triggers.{name}.max_waiting`)"
            return RequestError("too_many_waiting", f"{waits}: this one is not looked at")
        if self._held_bytes > HELD_BYTES:
            waits = f"{self._held_bytes >> 20} MiB of pictures wait already"
            return RequestError("too_many_waiting", f"{waits}: this part is not looked at")
        self._waiting[name] += 1
        return None


class TriggerIntake:
    """One thread takes over whatever has come, in one transaction, and begins to gather its pictures.

    Args:
        problems: cameras that are switched off, with a sentence each.
        wake: the outbox, where an answer goes out again.
        rejected: told of a part that has no verdict.
    """

    def __init__(
        self,
        triggers: Mapping[str, TriggerConfig],
        store: TriggerStore,
        collector: Collector,
        events: TriggerEvents,
        counters: Counters,
        problems: Callable[[], Mapping[str, str]],
        wake: Callable[[], None],
        rejected: Callable[[Part], None],
    ) -> None:
        self._triggers, self._store, self._collector, self._events = triggers, store, collector, events
        self._counters, self._problems, self._wake = counters, problems, wake
        self._rejected = rejected
        self._condition = threading.Condition()
        self._come: deque[_Come] = deque()
        self._waiting: dict[str, tuple[str, float]] = {}
        self._left: list[StoredTrigger] = []
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="triggers", daemon=True)

    def start(self) -> None:
        """With what an earlier run has left: before anything new comes."""
        try:
            self._left = self._store.waiting()
        except StoreError as error:
            log.error("%s", error)
        self._thread.start()

    def close(self) -> None:
        with self._condition:
            self._closed = True
            self._condition.notify_all()
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    def waiting(self) -> tuple[int, float | None]:
        """How many have no result yet, and for how many seconds the oldest has none."""
        with self._condition:
            moments = [moment for _, moment in self._waiting.values()]
        return len(moments), time.monotonic() - min(moments) if moments else None

    def accept(self, name: str, message: Message) -> None:
        """On the network thread. A retained trigger is stale and ignored."""
        if message.retain:
            self._counters.add("triggers_ignored_retained")
            message.acknowledge()
            return
        moment, now, part_id = time.monotonic(), datetime.now(UTC), message.user.get("part_id", "")
        request, problem = TriggerRequest(), None
        try:
            request = _read(message.payload)
            self._check_kind(name)
        except RequestError as error:
            problem = error
        delivery = None if request.id else message.delivery
        if request.id:
            mark = request_id("trigger", name, request.id)[:32]
        elif delivery is not None:
            mark = request_id(
                message.topic, message.payload, *(p for pair in sorted(message.user.items()) for p in pair)
            )
        else:
            mark = uuid.uuid4().hex
        at = min(request.at, now) if request.at is not None else now
        if request.at is not None:
            moment = moment_of(at.timestamp())
        trigger = StoredTrigger(mark, name, request.id, request.part_id or part_id, at.timestamp())
        known = request.at is not None or not message.dup
        self._put(_Come(Arriving(trigger, delivery), moment, message.acknowledge, problem, moment_known=known))

    def fire(self, name: str, moment: Moment) -> bool:
        """A source has triggered; returns when that was taken over, or False where the station has stopped before."""
        trigger = StoredTrigger(uuid.uuid4().hex, name, "", "", moment.at.timestamp())
        taken, lasting = threading.Event(), self._triggers[name].kind != "timer"
        self._put(_Come(Arriving(trigger), moment.monotonic, taken.set, lasting=lasting))
        while not taken.wait(0.2):
            if self._closed and not self._thread.is_alive():
                return taken.is_set()
        return True

    def resume(self) -> None:
        """Begin what an earlier run has left without a result. Once, when the station is online."""
        for trigger in self._left:
            if (config := self._triggers.get(trigger.name)) is None:
                gone = RequestError(
                    "unknown_trigger", f"{trigger.name!r} is not in the station file's [triggers] any more"
                )
                self._reject(trigger, gone, time.monotonic())
                self._forget(trigger)
                continue
            self._counters.add("triggers_resumed")
            age_s = max(unix_time() - trigger.at, 0.0)
            now, ended = time.monotonic(), partial(self._ended, trigger.id, lambda: None)
            gathering = Gathering(trigger, config, now - age_s, now + config.wait_s, ended, resumed=True)
            gathering.moment_known = False  # a board without a clock does not know how long it was off
            self._begin(gathering)

    def _forget(self, trigger: StoredTrigger) -> None:
        try:
            self._store.forget(trigger.id)
        except StoreError as error:  # the next start says it once more
            log.error("%s", error)

    def _check_kind(self, name: str) -> None:
        if (config := self._triggers.get(name)) is None:
            there = ", ".join(name for name, one in self._triggers.items() if one.kind == "mqtt") or "none"
            raise RequestError("unknown_trigger", f"{name!r} is not in the station file's [triggers]; it has {there}")
        if config.kind != "mqtt":
            raise RequestError("not_by_message", f"{name} is a trigger of kind {config.kind}: no message triggers it")

    def _put(self, come: _Come) -> None:
        trigger = come.arriving.trigger
        delivered = come.arriving.unmarked
        if come.problem is None and not (delivered is not None and delivered.dup):
            come = replace(come, announced=self._collector.announce(trigger.id, trigger.name, come.moment))
        with self._condition:
            self._come.append(come)
            self._condition.notify_all()

    # On the intake's thread

    def _run(self) -> None:
        while True:
            with self._condition:
                self._condition.wait_for(lambda: self._come or self._closed)
                if self._closed:
                    return  # not acknowledged: the broker sends them again
                come, self._come = list(self._come), deque()
            try:
                self._take(come)
            except Exception as error:  # a boundary as that of a frame: counted, logged, reported
                log.exception("triggers could not be taken over")
                for one in come:
                    problem = RequestError("internal", f"unexpected: {error!r}")
                    self._reject(one.arriving.trigger, problem, one.moment)
                    one.taken()
            for one in come:
                self._collector.withdraw(one.announced)

    def _take(self, come: list[_Come]) -> None:
        room = Room(self._triggers, self._counts(), self._collector.held_bytes())
        come = [replace(one, problem=one.problem or room.problem(one.arriving.trigger.name)) for one in come]
        arriving = [replace(one.arriving, refused=one.problem is not None) for one in come]
        try:
            taken = self._store.take_over(arriving, lasting=any(one.lasting for one in come))
        except StoreError as error:  # answered from memory, and acknowledged when it has been
            self._counters.add("store_errors")
            log.error("%s", error)
            for one in come:
                trigger = one.arriving.trigger
                if one.arriving.unmarked is not None:
                    trigger = replace(trigger, id=uuid.uuid4().hex)
                if one.problem is None:
                    self._start(one, trigger, one.taken)
                else:
                    self._took(one, trigger, "refused")
            return
        for one, (trigger, how) in zip(come, taken, strict=True):
            self._took(one, trigger, how)

    def _took(self, come: _Come, trigger: StoredTrigger, how: Taken) -> None:
        if how == "new":
            self._start(come, trigger, lambda: None)
        elif how == "refused" and come.problem is not None:
            self._reject(trigger, come.problem, come.moment)
        else:
            self._counters.add("triggers_duplicate")
            if how == "answered":
                self._wake()
        come.taken()

    def _start(self, come: _Come, trigger: StoredTrigger, done: Callable[[], None]) -> None:
        self._counters.add("triggers", trigger=trigger.name)
        deadline_s = (config := self._triggers[trigger.name]).delay_s + config.wait_s
        ended = partial(self._ended, trigger.id, done)
        moment, known = come.moment, come.moment_known
        gathering = Gathering(trigger, config, moment, moment + deadline_s, ended, moment_known=known)
        gathering.announced = come.announced
        self._begin(gathering)

    def _begin(self, gathering: Gathering) -> None:
        with self._condition:
            self._waiting[gathering.trigger.id] = gathering.trigger.name, gathering.moment
        self._collector.begin(gathering, self._problems())

    def _ended(self, trigger_id: str, done: Callable[[], None]) -> None:
        with self._condition:
            self._waiting.pop(trigger_id, None)
        done()

    def _counts(self) -> Counter[str]:
        with self._condition:
            return Counter(name for name, _ in self._waiting.values())

    def _reject(self, trigger: StoredTrigger, problem: RequestError, moment: float) -> None:
        """A part without a verdict, where there is such a trigger: whoever sends one could name any."""
        ours = trigger.name in self._triggers
        self._counters.add("triggers_rejected", trigger=trigger.name if ours else "", reason=problem.code)
        self._events.rejected(trigger, problem)
        if ours:
            self._rejected(Part(camera=trigger.name, id=trigger.id, part_id=trigger.part_id, received=moment))


def _read(payload: bytes) -> TriggerRequest:
    """Raises RequestError."""
    body = without_mark(payload).strip()
    if not body:
        return TriggerRequest()
    try:
        return TriggerRequest.model_validate_json(body)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_input=False))
        raise RequestError(
            "malformed", f'not a trigger: {problems}; nothing, or JSON such as {{"part_id": "A-17"}}, would be right'
        ) from None
