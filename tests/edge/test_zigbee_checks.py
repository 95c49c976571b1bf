"""`[zigbee2mqtt]` in a station file: how it is written, and what is wrong with it. No broker is asked."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from lineside.edge.command_line.main import main
from lineside.edge.errors import ConfigError
from lineside.edge.integrations.zigbee.listing import read_listing, to_file
from lineside.edge.station_file import load_config
from lineside.edge.zigbee_config import plain_name
from tests.support.zigbee import BASE, devices

GOOD = """
[zigbee2mqtt.devices."kitchen_lamp"]
words = ["Küchenlampe"]
[zigbee2mqtt.devices.garage]
name = "gate"

[tools.set_gate_state]
confirm_s = 0
[tools.set_timer]
description = "Set a timer."
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "station.toml"
    path.write_text(text)
    return path


def test_a_list_of_names_is_enough(tmp_path: Path) -> None:
    config = load_config(written(tmp_path, '[zigbee2mqtt]\ndevices = ["kitchen/lamp", "garage"]\n'))
    assert list(config.zigbee2mqtt.devices) == ["kitchen/lamp", "garage"]
    assert config.zigbee2mqtt.prefix("kitchen/lamp") == "kitchen_lamp"
    assert plain_name("Küche / große Lampe 2") == "kuche_grosse_lampe_2"


def test_what_changes_a_devices_tool_is_told_apart_from_tools_of_ones_own(tmp_path: Path) -> None:
    config = load_config(written(tmp_path, GOOD))
    assert config.zigbee2mqtt.tools == {"set_gate_state": {"confirm_s": 0}}
    assert list(config.tools) == ["set_timer"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('[zigbee2mqtt]\nbase_topic = "a/#"\n', "`zigbee2mqtt.base_topic` 'a/#' is not a plain topic"),
        (
            '[zigbee2mqtt]\ndevices = ["a lamp", "a_lamp"]\n',
            "would have the tools of 'a lamp': give one",
        ),
        ('[zigbee2mqtt]\ndevices = ["灯"]\n', "cannot be a part of a tool's name: give it a `name`"),
        ("[zigbee2mqtt.devices.lamp]\nword = []\n", "unknown key `zigbee2mqtt.devices.lamp.word`"),
        (
            '[zigbee2mqtt]\ndevices = ["lamp"]\n[tools.set_lamp_state]\nconfirm_s = "x"\n',
            'station.toml:4: `tools.set_lamp_state.confirm_s` is "x", and a number from 0 to 86400 belongs there',
        ),
        ('[zigbee2mqtt]\ndevices = ["lamp"]\n[tools.set_other]\nconfirm_s = 1\n', "`tools.set_other.description`"),
        (
            '[station]\nbase_topic = "zigbee2mqtt"\n[zigbee2mqtt]\nbase_topic = "zigbee2mqtt/x"\ndevices = ["lamp"]\n',
            "is below the station's own",
        ),
    ],
)
def test_a_mistake_is_told(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(ConfigError) as told:
        load_config(written(tmp_path, text))
    assert problem in str(told.value)


def test_say_and_check_take_the_devices_of_the_last_start(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Before there was one, they say what is missing."""
    path = written(tmp_path, GOOD)
    assert main(["check", str(path)]) == 0
    before = capsys.readouterr().err
    assert "warning: the devices of zigbee2mqtt are not known: no start has kept them in" in before
    listing = read_listing(devices(), b"")
    kept = {name: listing[name] for name in ("kitchen_lamp", "garage")}
    (tmp_path / "station.zigbee2mqtt.json").write_bytes(to_file(kept, BASE))
    assert main(["say", str(path), "Küchenlampe auf 40 Prozent", "--no-model"]) == 0
    said = capsys.readouterr()
    assert 'set_kitchen_lamp_brightness {"percent": 40}' in said.out
    assert said.err == ""


def test_reading_a_station_file_makes_no_tool(tmp_path: Path) -> None:
    """And loads nothing for it."""
    path = written(tmp_path, GOOD)
    look = (
        "import sys; from pathlib import Path; from lineside.edge.station_file import load_config; "
        f"load_config(Path({str(path)!r})); print([n for n in sys.modules if 'zigbee' in n and 'integrations' in n])"
    )
    assert subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True).stdout == "[]\n"
