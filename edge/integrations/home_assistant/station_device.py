"""The device of the station itself."""

from __future__ import annotations

from typing import get_args

from lineside.edge.config import STATION, Config
from lineside.edge.integrations.home_assistant.device import Device
from lineside.edge.integrations.home_assistant.expressions import VALUE, WHO, Code, command, cut, literal
from lineside.edge.integrations.home_assistant.ids import station_id
from lineside.edge.integrations.home_assistant.offer import Offer
from lineside.edge.wire.messages import StationEvent
from lineside.edge.wire.topics import Topics

EXPIRE_S = 60
"""`health` comes every ten seconds."""
SAID = (
    "value_json.text or (value_json.error.message if value_json.error is defined else "
    "value_json.calls | map(attribute='outcome') | join(', '))"
)
"""What a reply says: its text, why nothing was done, or what came of its calls."""
VERSION = "value_json.model.name ~ ' ' ~ value_json.model.sha256[:12]"
FRAMES = "value_json.histograms | selectattr('name', 'eq', 'frame') | selectattr('labels.stage', 'eq', 'total') | list"


def station_device(config: Config, offer: Offer | None) -> Device:
    topics = Topics(config.base_topic)
    about = {"name": config.station.name, "mdl": "Station"}
    device = Device(station_id(config.base_topic), about, [{"topic": topics.status}])
    _add_condition(device, topics)
    _add_figures(device, topics)
    _add_questions(device, topics, config)
    _add_changes(device, topics, config, offer)
    return device


def _add_condition(device: Device, topics: Topics) -> None:
    device.add(
        "binary_sensor",
        "status",
        "Status",
        device_class="connectivity",
        entity_category="diagnostic",
        state_topic=topics.status,
        payload_on="online",
        payload_off="offline",
        availability=[],
    )
    sentences = {"json_attributes_topic": topics.info}
    sentences["json_attributes_template"] = "{{ {'sentences': value_json.degraded} | to_json }}"
    device.add(
        "binary_sensor",
        "degraded",
        "Degraded",
        device_class="problem",
        state_topic=topics.info,
        value_template="{{ 'ON' if value_json.degraded else 'OFF' }}",
    )
    device.add(
        "sensor",
        "degraded",
        "What is degraded",
        entity_category="diagnostic",
        state_topic=topics.info,
        value_template="{{ " + cut("value_json.degraded | join('; ') or 'nothing'") + " }}",
        **sentences,
    )
    device.add(
        "sensor",
        "model",
        "Model",
        entity_category="diagnostic",
        state_topic=topics.info,
        value_template="{{ value_json.model.name }}",
        json_attributes_topic=topics.info,
        json_attributes_template="{{ dict(value_json.session, sha256=value_json.model.sha256) | to_json }}",
    )
    device.add(
        "event",
        "event",
        "Event",
        entity_category="diagnostic",
        state_topic=topics.event(STATION),
        event_types=list(get_args(StationEvent.model_fields["event_type"].annotation)),
    )


def _add_figures(device: Device, topics: Topics) -> None:
    device.add(
        "sensor",
        "frames",
        "Frames inspected",
        entity_category="diagnostic",
        state_class="total_increasing",
        state_topic=topics.health,
        value_template="{{ value_json.counters.get('results', 0) }}",
        expire_after=EXPIRE_S,
    )
    device.add(
        "sensor",
        "latency",
        "Mean latency",
        entity_category="diagnostic",
        device_class="duration",
        state_class="measurement",
        unit_of_measurement="ms",
        suggested_display_precision=0,
        state_topic=topics.health,
        value_template=f"{{% set found = {FRAMES} %}}{{% set n = found | map(attribute='counts') | map('sum') | sum %}}"
        "{{ (found | sum(attribute='sum_ms') / n) | round(1) if n else 'None' }}",
        expire_after=EXPIRE_S,
    )


def _add_questions(device: Device, topics: Topics, config: Config) -> None:
    """A sentence, and the last reply to one of those that named no response topic."""
    asked = {"text": VALUE, "conversation": WHO}
    device.add(
        "text",
        "ask",
        "Command",
        command_topic=topics.command("ask"),
        command_template=command(asked, expiry_s=config.commands.expiry_s),
        min=1,
    )
    device.add(
        "sensor",
        "reply",
        "Reply",
        state_topic=topics.response("ask"),
        value_template="{{ " + cut(SAID) + " }}",
        json_attributes_topic=topics.response("ask"),
        json_attributes_template=f"{{{{ dict(text={SAID}, ok=value_json.ok, calls=value_json.calls) | to_json }}}}",
    )


def _add_changes(device: Device, topics: Topics, config: Config, offer: Offer | None) -> None:
    """What `[remote] allow` lets through."""
    allow = config.remote.allow
    for key, name in (("pass_below", "Pass below"), ("fail_above", "Fail above")) if "config" in allow else ():
        setting = f"inspect.{key}"
        device.add(
            "number",
            key,
            name,
            entity_category="config",
            command_topic=topics.command("config"),
            command_template=command({"set": {setting: VALUE}}),
            state_topic=topics.info,
            value_template=f"{{{{ value_json.remote.settings[{literal(setting)}] }}}}",
            min=0,
            max=1,
            step=0.01,
            mode="box",
        )
    if "model" in allow:
        device.add(
            "button",
            "rollback",
            "Former model",
            entity_category="config",
            command_topic=topics.command("model-rollback"),
            command_template=command({}),
        )
        if offer is not None:
            _add_update(device, topics, offer)


def _add_update(device: Device, topics: Topics, offer: Offer) -> None:
    """What is installed is the bundle with the hash that was shown, or none."""
    install = {"payload_install": offer.install()} if offer.sha256 else {}
    latest = Code(literal(offer.version)) if offer.sha256 else VERSION
    device.add(
        "update",
        "model",
        "Model",
        entity_category="config",
        state_topic=topics.info,
        value_template=f"{{{{ {VERSION} }}}}",
        latest_version_topic=topics.info,
        latest_version_template=f"{{{{ {latest} }}}}",
        command_topic=topics.command("model-install"),
        **install,
    )
