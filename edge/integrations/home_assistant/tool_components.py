"""The tools of a station, as components of its device: each calls `cmd/call`, and shows the state of the tool's device
where the station file names one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from lineside.edge.calls.watch import same
from lineside.edge.config import Config
from lineside.edge.integrations.home_assistant.device import Device
from lineside.edge.integrations.home_assistant.expressions import command, cut, literal
from lineside.edge.integrations.home_assistant.ids import key_of, spoken
from lineside.edge.integrations.home_assistant.tool_shapes import Shape, shapes_of
from lineside.edge.tool_config import StateConfig, ToolConfig
from lineside.edge.topic_choice import topic_for, written
from lineside.edge.wire.messages import ToolEvent
from lineside.edge.wire.topics import Topics

CALL = "call"
"""The word of `[remote] allow`, and the command."""


def add_tools(device: Device, config: Config) -> None:
    topics = Topics(config.base_topic)
    announced = config.home_assistant.tools if config.home_assistant is not None else None
    for name, tool in config.tools.items():
        if announced is not None and name not in announced:
            continue
        if tool.query:
            _add_answer(device, name, tool)
            continue
        if tool.confirm_s:
            _add_confirmation(device, topics, name)
        if tool.allowed and CALL in config.remote.allow:
            for shape in shapes_of(tool):
                _add_call(device, topics, config, name, shape)
    if CALL in config.remote.allow and config.tools:
        _add_outcome(device, topics)


def _add_call(device: Device, topics: Topics, config: Config, name: str, shape: Shape) -> None:
    body = {"tool": name, "arguments": shape.arguments(shape.sent)}
    chosen = [written(value) for value in shape.chosen.values()]
    device.add(
        shape.platform,
        key_of("tool", name, *chosen),
        " ".join([spoken(name), *chosen]),
        command_topic=topics.command(CALL),
        command_template=command(body, name, config.commands.expiry_s),
        **shape.options,
        **_state(name, config.tools[name], shape),
    )


def _state(name: str, tool: ToolConfig, shape: Shape) -> dict[str, str]:
    """Where the device says how it is, in what this component sets; empty where it says something else."""
    state = tool.state
    if state is None or shape.platform == "button":
        return {}
    from lineside.edge.templates import FAILURES
    from lineside.edge.tool_templates import expectation

    asked_for = expectation(name, tool, state)
    try:
        topic = topic_for(state.topic, shape.chosen)
        if shape.values:
            words = {_word(asked_for(shape.arguments(value))): said for said, value in shape.values.items()}
            if len(words) < len(shape.values):
                return {}
            heard = f"{{% set said %}}{state.value}{{% endset %}}"
            read = f"{heard}{{{{ {literal(words)}.get(said | trim | lower, 'None') }}}}"
        elif all(same(asked_for(shape.arguments(value)), value, state.within) for value in _samples(shape)):
            read = state.value
        else:
            return {}
    except FAILURES:  # a topic that another argument chooses, an expectation that these arguments do not make
        return {}
    return {"state_topic": topic, "value_template": _over_message(state, name, read)}


def _samples(shape: Shape) -> list[Any]:
    """Of numbers, or of texts."""
    if shape.platform == "text":
        return ["a", "b"]
    least, most = shape.options["min"], shape.options["max"]
    return [least, most, least + shape.options["step"]]


def _word(value: Any) -> str:
    """A state as Home Assistant renders it, without regard to case."""
    return str(value).strip().lower()


def _over_message(state: StateConfig, name: str, read: str) -> str:
    """A template of the station file has the keys of a message by name, and a text or number as `value`; one of Home
    Assistant has all in `value_json`. A message that says nothing of them leaves the state."""
    from lineside.edge.templates import names_in
    from lineside.edge.tool_templates import PARSED, WHOLE

    used = sorted(names_in(state.value, f"tools.{name}.state.value"))
    keys = [key for key in used if key not in (WHOLE, PARSED)]
    whole = "{% set value = value_json if value_json is defined else value %}" if len(keys) < len(used) else ""
    if whole and PARSED in used:
        whole += "{% set value_json = value %}"
    if not keys:
        return whole + read
    there = " or ".join(f"value_json.{key} is defined" for key in keys)
    taken = "".join(f"{{% set {key} = value_json.{key} %}}" for key in keys)
    guard = f"{{% if value_json is defined and value_json is mapping and ({there}) %}}"
    return f"{guard}{whole}{taken}{read}{{% endif %}}"


def _add_answer(device: Device, name: str, tool: ToolConfig) -> None:
    """A question: its own state, where that has one topic."""
    if tool.state is None or not isinstance(tool.state.topic, str):
        return
    said = f"{{% set said %}}{tool.state.value}{{% endset %}}{{{{ {cut('said')} }}}}"
    device.add(
        "sensor",
        key_of("tool", name),
        spoken(name),
        state_topic=tool.state.topic,
        value_template=_over_message(tool.state, name, said),
    )


def _add_confirmation(device: Device, topics: Topics, name: str) -> None:
    """The question alone: a button could not carry the id of the call that its presser has seen, and would confirm
    whichever waits by then."""
    device.add(
        "event",
        key_of("tool", name, "confirmation"),
        f"{spoken(name)} confirmation",
        state_topic=topics.event(name),
        event_types=list(get_args(ToolEvent.model_fields["event_type"].annotation)),
    )


def _add_outcome(device: Device, topics: Topics) -> None:
    """What came of the last call: a switch or a button of Home Assistant cannot say it."""
    said: Mapping[str, str] = {
        "outcome": "value_json.calls[0].outcome if value_json.calls else value_json.error.code",
        "text": "value_json.error.message if value_json.error is defined else value_json.text",
    }
    device.add(
        "sensor",
        "last_call",
        "Last call",
        entity_category="diagnostic",
        state_topic=topics.response(CALL),
        value_template=f"{{{{ {said['outcome']} }}}}",
        json_attributes_topic=topics.response(CALL),
        json_attributes_template=f"{{{{ {{'text': {said['text']}, 'calls': value_json.calls}} | to_json }}}}",
    )
