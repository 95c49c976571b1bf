"""The last state of each device that a tool names.

It is what the device said, read by the template of the station file, and is kept in memory alone: after a start or a
lost connection nothing is known until it is heard again. A message that the broker had kept says how it was, not when.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from lineside.edge.calls.watch import Known, Watch, same, shown
from lineside.edge.counters import Counters
from lineside.edge.steady import elapsed
from lineside.edge.templates import FAILURES, Render
from lineside.edge.tool_config import DAY_S, StateConfig, ToolConfig
from lineside.edge.tool_templates import Read, expectation, state_reader
from lineside.edge.topic_choice import KUKSA, choice_of, chosen_by, topic_for, topics_of
from lineside.runtime.chat import ToolCall
from lineside.runtime.text.strict_json import load_json

log = logging.getLogger("lineside.states")
MAX_AGE_S = DAY_S
"""A state that was heard longer ago is not known any more."""
MAX_PAYLOAD_BYTES = 64 * 1024
MAX_VALUE_CHARACTERS = 200
MAX_SHOWN = 24
MAX_SHOWN_CHARACTERS = 1200
"""Of the states in a prompt."""
HEADING = "Last states:"
Slot = tuple[str, str]
"""A tool, and the value of the argument that chooses its topic."""


@dataclass(frozen=True)
class _Source:
    slot: Slot
    read: Read


class States:
    """What devices said last, and the calls that wait for them to say more.

    Args:
        also: states that no tool has, by name.

    Raises:
        ConfigError: a template or a topic of `state` makes no sense.
    """

    def __init__(
        self,
        tools: Mapping[str, ToolConfig],
        counters: Counters,
        clock: Callable[[], float] = elapsed,
        also: Mapping[str, StateConfig] | None = None,
    ) -> None:
        self._tools, self._counters, self._clock = tools, counters, clock
        self._sources: dict[str, list[_Source]] = {}
        self._wanted: dict[str, Render] = {}
        self._slots: list[Slot] = []
        self._states: dict[str, StateConfig] = dict(also or {})
        for name, tool in tools.items():
            if tool.state is None:
                continue
            self._states[name] = tool.state
            if tool.acts:
                self._wanted[name] = expectation(name, tool, tool.state)
        for name, state in self._states.items():
            read = state_reader(name, state)
            for value, topic in topics_of(state.topic).items():
                if name in tools:
                    self._slots.append((name, value))
                self._sources.setdefault(topic, []).append(_Source((name, value), read))
        self._known: dict[Slot, Known] = {}
        self._watches: list[tuple[Slot, Watch]] = []
        self._condition = threading.Condition()
        self._closed = False

    @property
    def topics(self) -> list[str]:
        """What must be subscribed to at the broker."""
        return [topic for topic in self._sources if not topic.startswith(KUKSA)]

    @property
    def signals(self) -> list[str]:
        """What must be subscribed to at the databroker, without the prefix of its topic."""
        return [topic.removeprefix(KUKSA) for topic in self._sources if topic.startswith(KUKSA)]

    def take(self, topic: str, payload: bytes, *, retained: bool, age_s: float = 0.0) -> None:
        """A device says something, `age_s` ago. What cannot be read, or says nothing of this state, leaves the last
        one.
        """
        for source in self._sources.get(topic, ()):
            known = self._read(topic, payload, source, retained, age_s)
            if known is None and payload:
                continue
            with self._condition:
                if known is None:  # the broker forgets what it had kept
                    self._known.pop(source.slot, None)
                    continue
                self._known[source.slot] = known
                for slot, watch in self._watches:
                    if slot == source.slot:
                        watch.heard(known)
                self._condition.notify_all()

    def _read(self, topic: str, payload: bytes, source: _Source, retained: bool, age_s: float) -> Known | None:
        if not payload:
            return None
        try:
            if len(payload) > MAX_PAYLOAD_BYTES:
                raise ValueError(f"{len(payload)} bytes")
            value = source.read(payload)
            text = json.dumps(value)
            if len(text) > MAX_VALUE_CHARACTERS:
                raise ValueError(f"a state of {len(text)} characters")
            return Known(load_json(text), self._clock() - age_s, retained)
        except FAILURES as error:
            self._counters.add("states_unreadable")
            log.debug("%s says nothing of the state of %s: %s", topic, source.slot[0], error)
            return None

    def forget(self, of_kuksa: bool = False) -> None:
        """The connection to the broker, or to the databroker, is lost: what was heard there may have changed since."""
        with self._condition:
            for topic, sources in self._sources.items():
                for source in sources if topic.startswith(KUKSA) == of_kuksa else ():
                    self._known.pop(source.slot, None)

    def known(self, name: str, arguments: Mapping[str, Any]) -> Known | None:
        """The state of a tool's device, or of another name, where it has been heard and is not too old."""
        state = self._states.get(name)
        if state is None:
            return None
        try:
            slot = (name, choice_of(state.topic, arguments))
        except LookupError:
            return None
        with self._condition:
            known = self._known.get(slot)
        return known if known is not None and self.age_s(known) <= MAX_AGE_S else None

    def is_asked(self, call: ToolCall, value: Any) -> bool:
        """Whether this state is the one that a call asks for."""
        state = self._tools[call.name].state
        try:
            return state is not None and same(value, self._wanted[call.name](call.arguments), state.within)
        except FAILURES:
            return False

    def values_of(self, name: str, argument: str) -> list[float]:
        """What a tool's devices say, where that is a number in the unit of this argument."""
        with self._condition:
            slots = [slot for slot in self._known if slot[0] == name]
        found = []
        for _, choice in slots:
            state = self._tools[name].state
            by = chosen_by(state.topic) if state is not None else ""
            known = self.known(name, {by: choice} if by else {})
            if known is None or isinstance(known.value, bool) or not isinstance(known.value, int | float):
                continue
            if self.is_asked(ToolCall("", name, {argument: known.value} | ({by: choice} if by else {})), known.value):
                found.append(known.value)
        return found

    def watch(self, call: ToolCall, tool: ToolConfig) -> Watch | None:
        """Look out for the state that a call asks for, from before it goes out; None where nothing can be seen of it.

        `close_watch` must be called for each.
        """
        state = tool.state
        if state is None or not tool.acts or not tool.wait_s:
            return None
        try:
            topic, slot = topic_for(state.topic, call.arguments), (call.name, choice_of(state.topic, call.arguments))
            wanted = self._wanted[call.name](call.arguments)
        except FAILURES as error:
            log.warning("%s: no state to wait for: %s", call.name, error)
            return None
        deadline = self._clock() + tool.wait_s
        watch = Watch(topic, wanted, state.within, deadline, tool.wait_s, self.known(call.name, call.arguments))
        with self._condition:
            self._watches.append((slot, watch))
        return watch

    def wait(self, watch: Watch) -> bool:
        """Until the state is as asked, or the time is over; False where the station stops."""
        with self._condition:
            while not (watch.reached or self._closed) and (left := watch.deadline - self._clock()) > 0:
                self._condition.wait(left)
            return watch.reached or not self._closed

    def close_watch(self, watch: Watch) -> None:
        with self._condition:
            self._watches = [entry for entry in self._watches if entry[1] is not watch]

    def close(self) -> None:
        """End every wait."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()

    def text(self) -> str:
        """The last states, for the model; empty where none is known. The newest come first, and those are kept."""
        with self._condition:
            found = [item for item in self._known.items() if item[0][0] in self._tools]
        known = sorted(found, key=lambda item: -item[1].heard)
        lines = [
            f"{self._label(slot)}: {shown(state.value)} ({self.when(state)})"
            for slot, state in known
            if self.age_s(state) <= MAX_AGE_S
        ]
        return _fitting(lines)

    def longest_text(self) -> str:
        """What `text` may come to, for the room in a prompt. Digits take a token each."""
        return _fitting([f"{self._label(slot)}: {'8' * MAX_VALUE_CHARACTERS}" for slot in self._slots])

    def when(self, known: Known) -> str:
        """Since when a state is known, in words."""
        age_s = self.age_s(known)
        ago = f"{age_s:.0f} s" if age_s < 120 else f"{age_s / 60:.0f} min" if age_s < 7200 else f"{age_s / 3600:.0f} h"
        return f"kept by the broker, at least {ago} old" if known.retained else f"{ago} ago"

    def age_s(self, known: Known) -> float:
        """Since it was heard."""
        return self._clock() - known.heard

    def _label(self, slot: Slot) -> str:
        name, value = slot
        state = self._tools[name].state
        by = chosen_by(state.topic) if state is not None else ""
        return f"{name} {by}={value}" if by else name


def _fitting(lines: list[str]) -> str:
    """As many lines as may stand in a prompt."""
    taken, length = [], 0
    for line in lines[:MAX_SHOWN]:
        length += len(line) + 1
        if length > MAX_SHOWN_CHARACTERS:
            break
        taken.append(line)
    return "\n".join([HEADING, *taken]) if taken else ""
