"""A camera with a schema of its own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from jsonschema.validators import Draft202012Validator

from lineside.edge.camera_config import CameraConfig
from lineside.edge.daemon import Daemon
from lineside.edge.errors import ConfigError
from lineside.edge.station_file import load_config
from tests.support.broker import Mosquitto
from tests.support.client import Client
from tests.support.station import TOPICS, station
from tests.support.wait import LIMIT_S

SCHEMA = {
    "type": "object",
    "properties": {"surface": {"enum": ["clean", "worn", None]}, "percent": {"type": "integer", "maximum": 9}},
    "required": ["surface", "percent"],
    "additionalProperties": False,
}


def test_results_carry_a_report_that_satisfies_the_cameras_schema(
    broker: Mosquitto, client: Client, tmp_path: Path, pictures: list[Path]
) -> None:
    (tmp_path / "cam1.json").write_text(json.dumps(SCHEMA))
    cameras = {"cam0": CameraConfig("mqtt"), "cam1": CameraConfig("mqtt", schema="cam1.json", instruction="Look well.")}
    with Daemon(station(broker, tmp_path, cameras=cameras)) as daemon:
        assert daemon.wait_online(LIMIT_S)
        for path in pictures[:3]:
            client.publish(TOPICS.frame("cam0"), path.read_bytes())
            client.publish(TOPICS.frame("cam1"), path.read_bytes())
        plain = [message.json() for message in client.on(TOPICS.result("cam0"), count=3)]
        own = [message.json() for message in client.on(TOPICS.result("cam1"), count=3)]
    assert all("report" not in result for result in plain)
    for result in own:
        assert result["complete"]
        Draft202012Validator(SCHEMA).validate(result["report"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"properties": {"a": {"contains": {}}}}', r"`cameras\.cam0\.schema`: own\.json at #/properties/a/contains"),
        ('{"type": "objekt"}', r"own\.json at #/type: not a JSON Schema"),
        ("{", r"`cameras\.cam0\.schema`: .*own\.json is not JSON"),
        (None, r"`cameras\.cam0\.schema`: .*own\.json cannot be read"),
    ],
)
def test_a_schema_is_refused_at_start(tmp_path: Path, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / "own.json").write_text(content)
    file = tmp_path / "station.toml"
    file.write_text('[cameras.cam0]\nkind = "mqtt"\nschema = "own.json"\n')
    with pytest.raises(ConfigError, match=message):
        Daemon(load_config(file, {}))


def test_a_report_may_be_null(broker: Mosquitto, client: Client, tmp_path: Path, pictures: list[Path]) -> None:
    (tmp_path / "own.json").write_text('{"type": "null"}')
    with Daemon(station(broker, tmp_path, cameras={"cam0": CameraConfig("mqtt", schema="own.json")})) as daemon:
        assert daemon.wait_online(LIMIT_S)
        client.publish(TOPICS.frame("cam0"), pictures[0].read_bytes())
        result = client.on(TOPICS.result("cam0"))[0].json()
    assert result["complete"]
    assert ("report" in result, result["report"]) == (True, None)


def test_a_schema_that_leaves_no_room_is_refused_at_start(broker: Mosquitto, tmp_path: Path) -> None:
    (tmp_path / "own.json").write_text(json.dumps({"enum": [f"part {number}" for number in range(10_000)]}))
    with pytest.raises(ConfigError, match=r"cam0 is inspected for takes \d+ tokens"):
        Daemon(station(broker, tmp_path, cameras={"cam0": CameraConfig("mqtt", schema="own.json")}))
