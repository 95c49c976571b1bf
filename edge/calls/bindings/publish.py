"""A call publishes on an MQTT topic of somebody else, such as a lamp's or a controller's.

The payload is a template over the arguments, in Jinja2's sandbox:

    "{{ 'ON' if on else 'OFF' }}"                             a text
    { state = "{{ state }}", brightness = "{{ (percent * 2.54) | round | int }}" }    JSON: a value that is nothing but
                                                              one expression keeps its type

and the arguments as a JSON object where there is none. The topic is fixed: no argument steers where we publish.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from jinja2 import StrictUndefined, TemplateError, meta
from jinja2.sandbox import ImmutableSandboxedEnvironment

from lineside.edge.calls.bindings import Done
from lineside.edge.errors import BrokerError, ConfigError, NotConnected, QueueFull
from lineside.edge.tool_config import PublishConfig, ToolConfig
from lineside.edge.wire.messages import JSON_TYPE
from lineside.edge.wire.mqtt import Connection
from lineside.edge.wire.traffic import Ending
from lineside.runtime.chat import ToolCall
from lineside.runtime.text.tool_calls import load_json

Render = Callable[[Mapping[str, Any]], Any]
EXPIRY_S = 10.0
AGAIN_S = 0.05
RESERVED = {"self"}


class PublishBinding:
    """Publishes what the templates make of a call.

    It does not go through the outbox: where there is no connection, nothing is published later.

    Raises:
        ConfigError: a template that does not parse, or that uses something that is no argument of the tool.
    """

    def __init__(self, tools: Mapping[str, ToolConfig], connection: Connection) -> None:
        self._connection = connection
        self._closed = threading.Event()
        self._render = {name: _template(name, tool) for name, tool in tools.items() if tool.publish is not None}

    def invoke(self, call: ToolCall, tool: ToolConfig, waiting: Callable[[], None]) -> Done:
        """`issued` once the broker has it: what happens behind the broker is not known here."""
        publish = tool.publish
        if publish is None:
            raise RuntimeError(f"{call.name} does not publish")
        try:
            value = self._render[call.name](call.arguments)
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, allow_nan=False)
            if not isinstance(value, str):
                load_json(text)
        except (TemplateError, TypeError, ValueError, ArithmeticError, LookupError) as error:
            return Done("failed", f"the payload of {publish.topic} cannot be made: {error}")
        deadline = time.monotonic() + (tool.wait_s or EXPIRY_S)
        ended, endings = threading.Event(), list[Ending]()

        def take(ending: Ending) -> None:
            endings.append(ending)
            ended.set()

        kind = "text/plain" if isinstance(value, str) else JSON_TYPE
        if problem := self._hand_over(publish, text.encode(), kind, deadline, take):
            return Done("failed", problem)
        waiting()
        if tool.wait_s and not self._wait(ended, deadline):
            return Done("expired", f"not acknowledged by the broker within {tool.wait_s:g} s: it may have arrived")
        if endings and endings[0].kind == "refused":
            return Done("failed", f"the broker refused it: {endings[0].reason}")
        if endings and endings[0].kind == "lost":
            return Done(
                "expired", "the connection broke before the broker had it: it may have arrived, and goes only once"
            )
        return Done("issued", f"published on {publish.topic}", {"topic": publish.topic, "payload": value})

    def _hand_over(
        self, publish: PublishConfig, payload: bytes, kind: str, deadline: float, ended: Callable[[Ending], None]
    ) -> str:
        """Publish as soon as the connection takes it, before the deadline; why not, where it does not."""
        while self._wait(self._connection.connected, deadline):
            try:
                self._connection.publish(
                    publish.topic,
                    payload,
                    retain=publish.retain,
                    content_type=kind,
                    expiry_s=None if publish.retain else deadline - time.monotonic(),
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


def _template(name: str, tool: ToolConfig) -> Render:
    publish = tool.publish
    if publish is None:
        return dict
    if any(mark in publish.topic for mark in "#+{}\x00") or publish.topic.startswith("$"):
        raise ConfigError(f"`tools.{name}.publish.topic`: {publish.topic!r} is not a topic that one can publish on")
    return payload_template(name, tool)


def payload_template(name: str, tool: ToolConfig) -> Render:
    """Raises ConfigError, which names the key of the template that is none."""
    publish = tool.publish
    if publish is None or publish.payload is None:
        return dict
    environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined, autoescape=False)
    return _compile(environment, publish.payload, f"tools.{name}.publish.payload", tool)


def _compile(environment: ImmutableSandboxedEnvironment, node: Any, key: str, tool: ToolConfig) -> Render:
    if isinstance(node, dict):
        parts = {name: _compile(environment, item, f"{key}.{name}", tool) for name, item in node.items()}
        return lambda arguments: {name: render(arguments) for name, render in parts.items()}
    if isinstance(node, list):
        items = [_compile(environment, item, f"{key}.{index}", tool) for index, item in enumerate(node)]
        return lambda arguments: [render(arguments) for render in items]
    if not isinstance(node, str):
        try:
            load_json(json.dumps(node))
        except (TypeError, ValueError) as error:
            raise ConfigError(f"`{key}`: {node!r} is not JSON ({error})") from None
        return lambda _arguments: node
    try:
        tree = environment.parse(node)
        if RESERVED & set(tool.parameters.get("properties", {})):
            raise ConfigError(f"`{key}`: templates cannot use an argument called self: give it another name")
        unknown = meta.find_undeclared_variables(tree) - set(tool.parameters.get("properties", {}))
        if unknown:
            raise ConfigError(f"`{key}`: {', '.join(sorted(unknown))} is no argument of this tool")
        if whole := _only_expression(node):
            expression = environment.compile_expression(whole, undefined_to_none=False)
            return lambda arguments: _defined(expression(dict(arguments)))
        template = environment.from_string(node)
    except TemplateError as error:
        raise ConfigError(f"`{key}` is not a template: {error}") from error
    return lambda arguments: template.render(dict(arguments))


def _only_expression(text: str) -> str:
    """What stands between the braces of a text that is nothing but one `{{ ... }}`; empty for others."""
    inner = text.strip()
    if inner.startswith("{{") and inner.endswith("}}") and "{{" not in inner[2:] and "}}" not in inner[:-2]:
        return inner[2:-2].strip()
    return ""


def _defined(value: Any) -> Any:
    if isinstance(value, StrictUndefined):
        str(value)  # raises the UndefinedError that says which
    return value
