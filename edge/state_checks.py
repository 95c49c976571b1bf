"""What is wrong with a tool's topics, state and query, for `lineside check`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from lineside.edge.errors import ConfigError
from lineside.edge.tool_config import ToolConfig
from lineside.edge.topic_choice import Topic, chosen_by, topic_problems, topics_of

Problem = tuple[tuple[str, ...], str]
"""A key, and a sentence that names it."""


def state_problems(tools: Mapping[str, ToolConfig], name: str, base: str) -> Iterator[Problem]:
    """Every mistake of `tools[name]` there; `base` is the station's own topic."""
    tool, above = tools[name], ("tools", name)
    if tool.publish is not None:
        yield from _topic((*above, "publish", "topic"), tool.publish.topic, tool)
    if tool.state is not None:
        key = (*above, "state", "topic")
        yield from _topic(key, tool.state.topic, tool)
        yield from _others(key, tool.state.topic, base)
    if tool.query:
        yield from _query(above, tool)
    yield from _step(above, tool)
    if (
        tool.publish is not None or tool.state is not None or tool.query or tool.kuksa is not None
    ):  # Jinja2 is imported for these alone
        yield from _templates(tools, name)


def _topic(key: tuple[str, ...], topic: Topic, tool: ToolConfig) -> Iterator[Problem]:
    for below, problem in topic_problems(".".join(key), topic, tool.parameters):
        yield (*key, *below), problem


def _others(key: tuple[str, ...], topic: Topic, base: str) -> Iterator[Problem]:
    """A state is what a device says: the station's own messages are none, nor are the topics of no client."""
    for value, chosen in topics_of(topic).items():
        if chosen == base or chosen.startswith(f"{base}/"):
            place = (*key, *filter(None, (chosen_by(topic), value)))
            yield (
                place,
                f"`{'.'.join(place)}` {chosen!r} is the station's own: name the topic on which the device speaks",
            )


def _query(above: tuple[str, ...], tool: ToolConfig) -> Iterator[Problem]:
    key = ".".join(above)
    for other in ("publish", "python"):
        if getattr(tool, other):
            yield (*above, "query"), f"`{key}` has both `query` and `{other}`: a query answers and does nothing"
    if tool.state is not None and tool.state.expect is not None:
        yield (*above, "state", "expect"), f"`{key}.state.expect`: a query asks for no state"
    if tool.confirm_s:
        yield (*above, "confirm_s"), f"`{key}.confirm_s`: a query does nothing that a person could confirm"


def _step(above: tuple[str, ...], tool: ToolConfig) -> Iterator[Problem]:
    key = f"{'.'.join(above)}.step"
    known = tool.parameters.get("properties", {})
    if len(tool.step) > 1:
        yield (*above, "step"), f"`{key}`: name one argument, so that it is clear what there is more of"
    for argument in tool.step:
        schema = known.get(argument) if isinstance(known, Mapping) else None
        if not isinstance(schema, Mapping) or schema.get("type") not in ("integer", "number"):
            yield (*above, "step", argument), f"`{key}.{argument}`: {argument} is no argument that is a number"


def _templates(tools: Mapping[str, ToolConfig], name: str) -> Iterator[Problem]:
    from lineside.edge.tool_templates import (
        expectation,
        payload_template,
        query_template,
        signal_template,
        state_reader,
    )

    tool, above = tools[name], ("tools", name)
    publishes = tool.publish is None or not list(_topic(above, tool.publish.topic, tool))
    checks: list[Callable[[], object]] = []
    if publishes:
        checks.append(lambda: payload_template(name, tool))
    if tool.kuksa is not None:
        checks.append(lambda: signal_template(name, tool))
    if (state := tool.state) is not None and not list(_topic(above, state.topic, tool)):
        checks.append(lambda: state_reader(name, state))
        if tool.acts and publishes:
            checks.append(lambda: expectation(name, tool, state))
    if tool.query:
        checks.append(lambda: query_template(name, tools))
    for check in checks:
        try:
            check()
        except ConfigError as error:
            problem = str(error)
            yield tuple(problem.split("`")[1].split(".")), problem  # it begins with the key
