"""A call publishes on an MQTT topic of somebody else, such as a lamp's or a controller's.

The payload is a template over the arguments (`edge.templates`), and the arguments as a JSON object where there is none.
The topic is fixed, or one of those that the station file names for the values of an argument: no argument steers where
we publish.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping

from lineside.edge.calls.bindings import Done
from lineside.edge.errors import BrokerError, NotConnected, QueueFull
from lineside.edge.templates import FAILURES
from lineside.edge.tool_config import ToolConfig
from lineside.edge.tool_templates import payload_template
from lineside.edge.topic_choice import topic_for
from lineside.edge.wire.messages import JSON_TYPE
from lineside.edge.wire.mqtt import Connection
from lineside.edge.wire.traffic import Ending
from lineside.runtime.chat import ToolCall
from lineside.runtime.text.strict_json import load_json

EXPIRY_S = 10.0
AGAIN_S = 0.05


class PublishBinding:
    """Publishes what the templates make of a call.

    It does not go through the outbox: where there is no connection, nothing is published later.

    Raises:
        ConfigError: a topic that is none, a template that does not parse, or that uses something that is no argument
            of the tool.
    """

    def __init__(self, tools: Mapping[str, ToolConfig], connection: Connection) -> None:
        self._connection = connection
        self._closed = threading.Event()
        self._render = {name: payload_template(name, tool) for name, tool in tools.items() if tool.publish is not None}

    def invoke(self, call: ToolCall, tool: ToolConfig, waiting: Callable[[], None]) -> Done:
        """`issued` once the broker has it: what happens behind the broker is not known here."""
        publish = tool.publish
        if publish is None:
            raise RuntimeError(f"{call.name} does not publish")
        try:
            topic = topic_for(publish.topic, call.arguments)
        except LookupError as error:  # the policy has checked the arguments
            return Done("failed", f"there is no topic for {error}: nothing was published")
        try:
            value = self._render[call.name](call.arguments)
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, allow_nan=False)
            if not isinstance(value, str):
                load_json(text)
        except FAILURES as error:
            return Done("failed", f"the payload of {topic} cannot be made: {error}")
        deadline = time.monotonic() + (tool.wait_s or EXPIRY_S)
        ended, endings = threading.Event(), list[Ending]()

        def take(ending: Ending) -> None:
            endings.append(ending)
            ended.set()

        kind = "text/plain" if isinstance(value, str) else JSON_TYPE
        if problem := self._hand_over(topic, publish.retain, text.encode(), kind, deadline, take):
            return Done("failed", problem)
        waiting()
        if tool.wait_s and not self._wait(ended, deadline):
            return Done("expired", f"not acknowledged by the broker within {tool.wait_s:g} s: it may have arrived")
        if endings and endings[0].kind == "refused":
            return Done("failed", f"the broker refused it on {topic}: {endings[0].reason}")
        if endings and endings[0].kind == "lost":
            return Done(
                "expired", "the connection broke before the broker had it: it may have arrived, and goes only once"
            )
        return Done("issued", f"published on {topic}", {"topic": topic, "payload": value})

    def _hand_over(
        self,
        topic: str,
        retain: bool,
        payload: bytes,
        kind: str,
        deadline: float,
        ended: Callable[[Ending], None],
    ) -> str:
        """Publish as soon as the connection takes it, before the deadline; why not, where it does not."""
        while self._wait(self._connection.connected, deadline):
            try:
                self._connection.publish(
                    topic,
                    payload,
                    retain=retain,
                    content_type=kind,
                    expiry_s=None if retain else deadline - time.monotonic(),
                    deadline=deadline,
                    ended=ended,
                )
            except (QueueFull, NotConnected):
                self._closed.wait(AGAIN_S)
            except BrokerError as error:
                return str(error)
            else:
                return ""
        return "there is no connection to the broker: nothing was published"

    def _wait(self, event: threading.Event, deadline: float) -> bool:
        while not event.wait(min(max(deadline - time.monotonic(), 0.0), 0.2)):
            if self._closed.is_set() or time.monotonic() >= deadline:
                return False
        return True

    def close(self) -> None:
        self._closed.set()
