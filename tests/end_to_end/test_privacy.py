"""Everything stays on the device, and in the station's data folder: what each command connects to and writes, as the
kernel sees it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from lineside.runtime.defaults import DEFAULT_BUNDLE
from tests.conftest import ROOT
from tests.support.broker import Mosquitto
from tests.support.bundles import copy_bundle, edit_manifest
from tests.support.checkpoints import copy_checkpoint
from tests.support.client import Client
from tests.support.station import LINESIDE
from tests.support.watched import Watch, Watched

pytestmark = pytest.mark.plain_broker

TELEMETRY_S = 16.0
"""ONNX Runtime's telemetry looks up its host about 10 s after the start."""


@pytest.fixture
def station(tmp_path: Path, broker: Mosquitto, pictures: list[Path]) -> Path:
    """A station with its pictures, and labelled ones; five are of good parts. It keeps its data beside its folder."""
    folder = tmp_path / "station"
    labels = json.loads((pictures[0].parent.parent / "labels.json").read_text())
    for name in ("pictures", "labelled/pass", "labelled/fail"):
        (folder / name).mkdir(parents=True)
    shutil.copy(pictures[0], folder / "pictures")
    for path in pictures:
        shutil.copy(path, folder / "labelled" / labels[path.name]["verdict"])
    (folder / "station.toml").write_text(
        f'[station]\nname = "quiet"\ndata = "../data"\n[mqtt]\nhost = "127.0.0.1"\nport = {broker.port}\n'
        '[inspect]\nany_way_up = false\nevidence_folder = "evidence"\n'
        '[cameras.cam0]\nkind = "folder"\nsource = "pictures"\n'
        '[tools.set_belt_speed]\ndescription = "Set the speed of the belt in percent."\n'
        "[tools.set_belt_speed.parameters]\n"
        'type = "object"\nrequired = ["percent"]\nadditionalProperties = false\n'
        'properties.percent = { type = "integer", minimum = 0, maximum = 100 }\n'
    )
    return folder / "station.toml"


def assert_quiet(watched: Watched, station: Path) -> None:
    """The broker is on the loopback interface, as are paho's and the demo's connections to themselves. The station's
    own folder might be `/etc/lineside`, where nobody can write."""
    assert watched.code == 0, watched.output
    assert {host for host, _ in watched.addresses} <= {"127.0.0.1"}
    assert not watched.looked_up
    assert watched.home == []
    elsewhere = [
        path
        for path in watched.written
        if not path.is_relative_to(station.parent.parent) or path.is_relative_to(station.parent)
    ]
    assert elsewhere == []


def test_the_daemon_speaks_to_its_broker_only(station: Path, tmp_path: Path, broker: Mosquitto, client: Client) -> None:
    watch = Watch(tmp_path, "run", "-c", station)
    assert client.on("lineside/quiet/status")[0].payload == b"online"
    threading.Event().wait(TELEMETRY_S)
    watch.terminate()
    watched = watch.end()
    assert ("127.0.0.1", broker.port) in watched.addresses, "the trace shows what is connected to"
    kept = {tmp_path / "data" / name for name in ("lineside.db", "lineside.audit", "history", "evidence")}
    assert kept <= watched.written, "the trace shows what is written"
    assert_quiet(watched, station)


@pytest.mark.parametrize(
    "command",
    [
        "check FILE",
        "check",
        "inspect default PICTURE",
        "ask TALKING Hello. --max-tokens 4",
        "learn FILE GOOD",
        "calibrate FILE LABELLED",
        "export CHECKPOINT BUNDLE",
        "plan default",
        "plan CHECKPOINT --device cpu",
        "model install MODEL -c FILE",
        "devices",
    ],
)
def test_a_command_speaks_to_nobody(command: str, station: Path, tmp_path: Path) -> None:
    folder = station.parent
    words = {
        "FILE": station,
        "PICTURE": next((folder / "pictures").iterdir()),
        "GOOD": folder / "labelled/pass",
        "LABELLED": folder / "labelled",
        "CHECKPOINT": copy_checkpoint("grouped", folder),
        "BUNDLE": tmp_path / "bundle",
        "TALKING": folder / "talking",
        "MODEL": DEFAULT_BUNDLE,
    }
    if "TALKING" in command:
        edit_manifest(copy_bundle(DEFAULT_BUNDLE, folder / "talking"), lambda manifest: manifest.update(taught={}))
    assert_quiet(Watch(tmp_path, *(words.get(word, word) for word in command.split())).end(), station)


def test_the_demo_speaks_to_its_own_broker_only(station: Path, tmp_path: Path) -> None:
    watched = Watch(tmp_path, "demo", station).end()
    assert watched.addresses
    assert_quiet(watched, station)


@pytest.mark.parametrize("module", ["lineside.runtime.sessions.ort", "lineside.runtime.engine.engine"])
def test_any_import_is_quiet(module: str, tmp_path: Path) -> None:
    """Also that of somebody else's program, and whatever the environment said before."""
    program = f"import {module}, os; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    environment = os.environ | {"HOME": str(tmp_path), "ORT_DISABLE_TELEMETRY": "0"}
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment)
    assert found.stdout.strip() == "1"
    assert list(tmp_path.iterdir()) == []


def test_no_plugin_sees_what_is_validated(station: Path, tmp_path: Path) -> None:
    """Pydantic loads those that are installed, and one that reports what it sees need not be Lineside's."""
    metadata = tmp_path / "packages/spy-1.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: spy\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text("[pydantic]\nspy = spy:plugin\n")
    (metadata.parent / "spy.py").write_text("raise SystemExit('a plugin was loaded')\n")
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{metadata.parent}"}
    command = [*LINESIDE, "check", str(station)]
    found = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert found.returncode == 0, found.stderr
