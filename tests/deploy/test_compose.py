"""The composition with broker, Prometheus and Grafana: its parts name each other as they are."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import textwrap
from pathlib import Path
from typing import Any

import pytest
from compose_spec import PyCompose

from lineside.edge.counters import BOUNDS_MS
from lineside.edge.metrics import HISTOGRAMS, SERIES, registry_of
from lineside.edge.station_file import load_config
from lineside.edge.wire.health import Health, WireBoard, WireCamera, WireHistogram, WireQueue
from lineside.edge.wire.messages import WireModel
from tests.conftest import ROOT
from tests.support.secured import make_certificate

FOLDER = ROOT / "deploy/compose"
PAGE = (ROOT / "docs/operate.md").read_text()
DRAIN_S, REST_S = 10, 20
"""What a station takes to stop at most, see docs/operate.md."""


@pytest.fixture(scope="module")
def compose() -> PyCompose:
    """Raises ValueError where it is not what the compose specification says."""
    read = PyCompose.from_yaml((FOLDER / "compose.yaml").read_text())
    read.validate()
    return read


@pytest.fixture
def services(compose: PyCompose) -> dict[str, dict[str, Any]]:
    return json.loads(compose.to_json())["services"]  # type: ignore[no-any-return]


def mounts(service: dict[str, Any]) -> dict[str, str]:
    """What is mounted, by where it is."""
    return {parts[1]: parts[0] for parts in (volume.split(":") for volume in service.get("volumes", []))}


def image_variables() -> dict[str, str]:
    text = (ROOT / "deploy/container/Containerfile").read_text()
    return dict(re.findall(r"(LINESIDE_\w+)=(\S+)", text))


def test_what_is_mounted_is_there_or_made_as_the_page_says(
    compose: PyCompose, services: dict[str, dict[str, Any]]
) -> None:
    sources = {source for service in services.values() for source in mounts(service).values()}
    kept = {source for source in sources if "/" not in source}
    assert kept == set(compose.volumes or {})
    made = {source for source in sources - kept if not (FOLDER / source).exists()}
    made |= {secret["file"] for secret in json.loads(compose.to_json())["secrets"].values()}
    assert made == {"./broker", "./broker-data", "./station", "./password"}
    commands = PAGE.partition("/srv/lineside/compose")[2].partition("compose up")[0]
    for name in made:
        assert re.search(rf"\b{name.removeprefix('./')}\b", commands), name


def test_the_station_takes_each_variable(services: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    """With the station file that the page shows."""
    station = services["lineside"]
    variables = image_variables() | station["environment"]
    (secret,) = station["secrets"]
    assert variables["LINESIDE_MQTT__PASSWORD_FILE"] == f"/run/secrets/{secret}"
    assert variables["LINESIDE_STATION__DATA"] in mounts(station)
    (tmp_path / "password").write_text("secret")
    (tmp_path / "password").chmod(0o600)
    make_certificate(tmp_path, "broker", "mosquitto")
    shown = PAGE.partition("`station/station.toml` has\n")[2].partition("\nNode-RED")[0]
    (tmp_path / "station.toml").write_text(textwrap.dedent(shown))
    config = load_config(tmp_path / "station.toml", variables | {"LINESIDE_MQTT__PASSWORD_FILE": "password"})
    assert (config.mqtt.host, config.mqtt.username) == ("mosquitto", "press4")


def test_a_station_is_given_the_time_to_stop(services: dict[str, dict[str, Any]]) -> None:
    limit = services["lineside"]["stop_grace_period"]
    unit = (ROOT / "deploy/systemd/lineside@.service").read_text()
    assert f"TimeoutStopSec={limit}\n" in unit
    assert int(limit.removesuffix("s")) > DRAIN_S + REST_S


def test_the_broker_finds_its_files(services: dict[str, dict[str, Any]]) -> None:
    """That Mosquitto takes them is tested in tests/end_to_end."""
    named = re.findall(r"^\w+ (/\S+)$", (ROOT / "deploy/mosquitto/mosquitto.conf").read_text(), re.MULTILINE)
    assert len(named) == 6
    targets = mounts(services["mosquitto"])
    assert {path for path in named if not {path.rstrip("/"), str(Path(path).parent)} & set(targets)} == set()


def test_prometheus_asks_the_station(services: dict[str, dict[str, Any]]) -> None:
    port = image_variables()["LINESIDE_METRICS__PORT"]
    assert f'targets: ["lineside:{port}"]' in (FOLDER / "prometheus.yml").read_text()
    assert services["lineside"]["environment"]["LINESIDE_METRICS__ADDRESS"] == "0.0.0.0"
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not there")
    subprocess.run([promtool, "check", "config", FOLDER / "prometheus.yml"], check=True, capture_output=True)


def exported() -> dict[str, set[str]]:
    """Names with their labels, of a station where everything has happened."""
    health = Health(
        uptime_s=1.0,
        counters=dict.fromkeys((*SERIES, "outbox_refused", "vision_cache_hits"), 1),
        outbox_messages=0,
        cameras={"cam0": WireCamera(age_s=0.1)},
        queues={"frames": WireQueue(waiting=0)},
        bounds_ms=list(BOUNDS_MS),
        histograms=[
            WireHistogram(name=name, labels={label: "x"}, counts=[0] * len(BOUNDS_MS) + [1], sum_ms=1.0)
            for name, (label, _) in HISTOGRAMS.items()
        ],
        models={"frames": WireModel(name="m", sha256="0")},
        board=WireBoard(temperature_c={"cpu": 40.0}, power_w={"VDD_IN": 7.0}),
    )
    families = list(registry_of(lambda: health).collect())
    return {sample.name: set(sample.labels) for family in families for sample in family.samples}


def test_the_dashboard_asks_for_figures_that_there_are() -> None:
    """And for labels that they have."""
    known, asked = exported(), set()
    for panel in json.loads((FOLDER / "grafana/lineside.json").read_text())["panels"]:
        for target in panel["targets"]:
            names = set(re.findall(r"lineside_\w+", target["expr"]))
            assert names <= set(known)
            grouped = {label for by in re.findall(r"by \(([^)]*)\)", target["expr"]) for label in by.split(", ")}
            shown = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
            assert all(grouped | shown <= known[name] for name in names), target
            assert not grouped or shown <= grouped, target
            asked |= names
    assert len(asked) > 10


def test_the_page_names_figures_that_there_are() -> None:
    known = {re.sub(r"_(bucket|sum|count)$", "", name) for name in exported()}
    named = set(re.findall(r"`(lineside_\w+)`", PAGE))
    assert len(named) > 15
    assert named - known == set()


def test_grafana_finds_prometheus_and_the_dashboard(services: dict[str, dict[str, Any]]) -> None:
    source = (FOLDER / "grafana/datasource.yaml").read_text()
    used = set(re.findall(r'"type": "prometheus",\s+"uid": "(\w+)"', (FOLDER / "grafana/lineside.json").read_text()))
    assert used == set(re.findall(r"uid: (\w+)", source))
    assert "http://prometheus:9090" in source
    assert "prometheus" in services
    (folder,) = re.findall(r"path: ([^}\s]+)", (FOLDER / "grafana/dashboards.yaml").read_text())
    assert f"{folder}/lineside.json" in mounts(services["grafana"])
