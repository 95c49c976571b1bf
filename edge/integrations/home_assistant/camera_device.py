"""The device of one camera, and of one trigger: both give verdicts."""

from __future__ import annotations

from typing import Any, get_args

from lineside.edge.config import Config
from lineside.edge.integrations.home_assistant.device import Device
from lineside.edge.integrations.home_assistant.expressions import (
    SWITCHED_ON,
    VALUE,
    WHO,
    Code,
    command,
    cut,
    literal,
    payload,
)
from lineside.edge.integrations.home_assistant.ids import camera_id, spoken, station_id
from lineside.edge.integrations.home_assistant.station_device import EXPIRE_S, SAID
from lineside.edge.triggers_config import alone
from lineside.edge.wire.messages import Event, Verdict
from lineside.edge.wire.topics import Topics
from lineside.edge.wire.trigger_messages import TriggerEvent

DESCRIBE = "Describe what you see."
KEPT = "this.state if this.state not in ('unknown', 'unavailable') else 'None'"
"""The state as it is, for a message about something else."""


def camera_device(config: Config, camera: str) -> Device:
    """Unavailable while the station is, or the camera gives no pictures; what tells of that and switches is not."""
    topics, base = Topics(config.base_topic), config.base_topic
    about = {
        "name": f"{config.station.name} {spoken(camera)}",
        "mdl": "Camera",
        "via_device": station_id(base),
    }
    stale = f"{{{{ 'offline' if {literal(camera)} in value_json.stale else 'online' }}}}"
    here = [{"topic": topics.status}]
    device = Device(camera_id(base, camera), about, [*here, {"topic": topics.info, "value_template": stale}])
    _add_verdict(device, topics, camera)
    if camera not in alone(config.triggers):
        _add_result(device, topics, camera)
    _add_condition(device, topics, camera, here)
    _add_questions(device, topics, camera, config.commands.expiry_s)
    if "switch" in config.remote.allow:
        body = {"camera": camera, "what": "inspection", "on": SWITCHED_ON}
        setting = literal(f"cameras.{camera}.inspected")
        device.add(
            "switch",
            "inspection",
            "Inspection",
            entity_category="config",
            command_topic=topics.command("switch"),
            command_template=command(body),
            state_topic=topics.info,
            value_template=f"{{{{ 'ON' if value_json.remote.settings[{setting}] else 'OFF' }}}}",
            availability=here,
        )
    return device


def trigger_device(config: Config, trigger: str) -> Device:
    """The parts that a trigger has several cameras look at. Where it is a message, a button sends it."""
    topics, base = Topics(config.base_topic), config.base_topic
    about = {"name": f"{config.station.name} {spoken(trigger)}", "mdl": "Trigger", "via_device": station_id(base)}
    device = Device(camera_id(base, trigger), about, [{"topic": topics.status}])
    _add_verdict(device, topics, trigger)
    _add_result(device, topics, trigger)
    _add_events(device, topics, trigger, list(get_args(TriggerEvent.model_fields["event_type"].annotation)))
    if not config.triggers[trigger].moves:
        device.add(
            "button",
            "look",
            "Look now",
            command_topic=topics.trigger(trigger),
            command_template=payload({"id": Code(f"{literal(f'{WHO}/')} ~ utcnow().timestamp()")}),
        )
    return device


def _add_verdict(device: Device, topics: Topics, camera: str) -> None:
    """By the state, which is retained."""
    device.add("image", "picture", None, image_topic=topics.snapshot(camera), content_type="image/jpeg")
    device.add(
        "binary_sensor",
        "problem",
        "Problem",
        device_class="problem",
        state_topic=topics.state(camera),
        value_template="{{ {'fail': 'ON', 'pass': 'OFF'}.get(value_json.get('verdict'), 'None') }}",
    )
    device.add(
        "sensor",
        "verdict",
        "Verdict",
        device_class="enum",
        options=list(get_args(Verdict)),
        state_topic=topics.state(camera),
        value_template="{{ value_json.get('verdict', 'None') }}",
    )


def _add_result(device: Device, topics: Topics, camera: str) -> None:
    """By results, of which none is retained."""
    result = topics.result(camera)
    device.add(
        "sensor",
        "fail_probability",
        "Fail probability",
        state_class="measurement",
        unit_of_measurement="%",
        suggested_display_precision=1,
        state_topic=result,
        value_template="{{ (100 * value_json.fail_probability) | round(2) }}",
    )
    device.add(
        "sensor",
        "defects",
        "Defects",
        state_class="measurement",
        state_topic=result,
        value_template="{{ value_json.defects | count }}",
        json_attributes_topic=result,
        json_attributes_template="{{ {'defects': value_json.defects, 'part_id': value_json.part_id} | to_json }}",
    )
    device.add(
        "sensor",
        "latency",
        "Latency",
        entity_category="diagnostic",
        device_class="duration",
        state_class="measurement",
        unit_of_measurement="ms",
        suggested_display_precision=0,
        state_topic=result,
        value_template="{{ value_json.timing_ms.total | round(1) }}",
    )
    device.add(
        "event",
        "result",
        "Result",
        state_topic=result,
        event_types=list(get_args(Verdict)),
        value_template="{{ dict(value_json, event_type=value_json.verdict) | to_json }}",
    )


def _add_condition(device: Device, topics: Topics, camera: str, here: list[dict[str, str]]) -> None:
    device.add(
        "sensor",
        "age",
        "Age of the newest frame",
        entity_category="diagnostic",
        device_class="duration",
        unit_of_measurement="s",
        suggested_display_precision=1,
        state_topic=topics.health,
        value_template=f"{{{{ value_json.cameras.get({literal(camera)}, {{}}).get('age_s', 'None') }}}}",
        expire_after=EXPIRE_S,
    )
    _add_events(device, topics, camera, list(get_args(Event.model_fields["event_type"].annotation)), availability=here)


def _add_events(device: Device, topics: Topics, name: str, kinds: list[str], **options: Any) -> None:
    device.add(
        "event",
        "event",
        "Event",
        entity_category="diagnostic",
        state_topic=topics.event(name),
        event_types=kinds,
        **options,
    )


def _add_questions(device: Device, topics: Topics, camera: str, expiry_s: float) -> None:
    """About the newest frame. The reply is told from others by its transaction."""
    topic, about = topics.response("ask"), f"camera/{camera}"
    asked = {"cameras": [camera], "conversation": f"{WHO}/{camera}"}
    device.add(
        "text",
        "ask",
        "Question",
        command_topic=topics.command("ask"),
        command_template=command({"text": VALUE, **asked}, about, expiry_s),
        min=1,
    )
    device.add(
        "button",
        "describe",
        "Describe",
        command_topic=topics.command("ask"),
        command_template=command({"text": DESCRIBE, **asked}, about, expiry_s),
    )
    mine = f"value_json.get('transaction', '').startswith({literal(f'{WHO}/{about}/')})"
    text = f"({SAID}) if {mine} else this.attributes.get('text', '')"
    device.add(
        "sensor",
        "answer",
        "Answer",
        state_topic=topic,
        value_template=f"{{{{ {cut(SAID)} if {mine} else ({KEPT}) }}}}",
        json_attributes_topic=topic,
        json_attributes_template=f"{{{{ {{'text': {text}}} | to_json }}}}",
    )
