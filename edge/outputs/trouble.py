"""An output that cannot be reached: said once, and once more when it is back."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from lineside.edge.counters import Counters
from lineside.edge.degraded import Degraded
from lineside.edge.wire.messages import JSON_TYPE, OutputEvent, OutputOutcome, WireError
from lineside.edge.wire.store import Outgoing
from lineside.edge.wire.topics import Topics

log = logging.getLogger("lineside.outputs")


class Trouble:
    """On `event/{output}`, in `degraded`, in the log and in the counters. From any thread."""

    def __init__(
        self, topics: Topics, send: Callable[[Outgoing], None], degraded: Degraded, counters: Counters
    ) -> None:
        self._topics, self._send, self._degraded, self._counters = topics, send, degraded, counters
        self._lock = threading.Lock()
        self._failed: set[str] = set()

    def failed(self, output: str, why: str) -> None:
        with self._lock:
            new = output not in self._failed
            self._failed.add(output)
        self._counters.add("output_failures")
        self._degraded.set(f"output {output}", f"output {output}: {why}")
        if new:
            log.error("output %s: %s", output, why)
            error = WireError(code="output_failed", message=why)
            self._say(OutputEvent(event_type="output_failed", output=output, error=error))

    def worked(self, output: str) -> None:
        with self._lock:
            if output not in self._failed:
                return
            self._failed.discard(output)
        log.info("output %s can be reached again", output)
        self._degraded.clear(f"output {output}")
        self._say(OutputEvent(event_type="output_back", output=output))

    def held(self, output: str, state: str, why: str) -> None:
        """It is kept in its safe state; no `why` when it is not any more."""
        key = f"safe state of output {output}"
        if why:
            log.warning("output %s is held %s: %s", output, state, why)
            self._degraded.set(key, f"output {output} is held {state}, whatever the verdicts: {why}")
        else:
            log.info("output %s follows the verdicts again", output)
            self._degraded.clear(key)

    def ended(self, output: str, outcome: OutputOutcome) -> None:
        """What came of a part."""
        self._counters.add("outputs", output=output, outcome=outcome)

    def _say(self, event: OutputEvent) -> None:
        self._send(Outgoing(self._topics.event(event.output), event.encode(), JSON_TYPE))
