"""What `lineside check` says of states and queries, with the line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from lineside.edge.errors import ConfigError
from lineside.edge.station_file import load_config

STATION = """
[station]
name = "home"
[tools.lamp]
description = "Lamp."
parameters = {{ type = "object", required = ["percent"], properties.percent = {{ type = "integer" }} }}
{publish}
[tools.lamp.state]
{topic}
{value}
[tools.asks]
description = "Ask."
{query}
{more}
"""
RIGHT = {
    "publish": 'publish = { topic = "lamp/set", payload = { brightness = "{{ percent }}" } }',
    "topic": 'topic = "lamp"',
    "value": 'value = "{{ brightness }}"',
    "query": 'query = "{{ states.lamp }} %"',
    "more": "",
}
ROOMS = 'topic = { percent = { a = "x", b = "y" } }'


def write(folder: Path, **changes: str) -> Path:
    path = folder / "station.toml"
    path.write_text(STATION.format(**RIGHT | changes))
    return path


@pytest.mark.parametrize(
    ("changes", "line", "message"),
    [
        ({"topic": 'topic = "lamp/#"'}, 9, r"`tools\.lamp\.state\.topic` 'lamp/#' is not a plain topic"),
        ({"topic": 'topic = "$SYS/x"'}, 9, "is not a plain topic"),
        ({"topic": 'topic = ""'}, 9, "is not a plain topic"),
        ({"topic": 'topic = "lineside/home/state/cam0"'}, 9, "is the station's own"),
        ({"topic": 'topic = "a"\nwait = 5'}, 10, r"unknown key `tools\.lamp\.state\.wait`"),
        ({"topic": ROOMS}, 9, "percent must have an `enum`"),
        ({"value": 'value = "{{ brightness"'}, 10, r"`tools\.lamp\.state\.value` is not a template"),
        ({"value": 'value = "on"'}, 10, "takes nothing from the message"),
        ({"value": 'value = "{{ brightness }}"\nexpect = "{{ level }}"'}, 11, r"state\.expect`: level is no"),
        ({"publish": 'publish = { topic = "lamp/set", payload = "{{ colour }}" }'}, 7, "colour is no argument"),
        ({"query": 'query = "{{ states.lmp }}"'}, 13, "lmp has no `state`; tools with one: lamp"),
        ({"query": 'query = "{{ state }}"'}, 13, "asks has no `state`"),
        ({"query": 'query = "{{ states }}"'}, 13, "write {{ states.NAME }}"),
        ({"query": 'query = "hello"'}, 13, "says nothing of a state"),
        ({"query": 'query = "{{ states.lamp }} {{ room }}"'}, 13, "room is no argument of this tool"),
        ({"query": 'query = "{{ states.lamp }}"\npython = "os:getcwd"'}, 13, "has both `query` and `python`"),
        ({"query": 'query = "{{ states.lamp }}"\nconfirm_s = 5'}, 14, "nothing that a person could confirm"),
        ({"more": "step = { percent = 5 }"}, 14, r"asks\.step\.percent`: percent is no argument that is a number"),
        ({"more": 'state = { topic = "a", expect = 5 }'}, 14, r"asks\.state\.expect`: a query asks for no state"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_line(changes: dict[str, str], line: int, message: str, tmp_path: Path) -> None:
    load_config(write(tmp_path), {})
    path = write(tmp_path, **changes)
    with pytest.raises(ConfigError, match=message) as caught:
        load_config(path, {})
    assert str(caught.value).startswith(f"{path}:{line}: ")


def test_what_a_call_asks_for_must_be_known(tmp_path: Path) -> None:
    """Two arguments, neither of which is what the state says: nobody can tell."""
    two = 'parameters = { type = "object", properties.a = {}, properties.b = {} }'
    more = f'[tools.two]\ndescription = "Two."\n{two}\nstate = {{ topic = "x", value = "{{{{ level }}}}" }}'
    with pytest.raises(ConfigError, match=r"`tools\.two\.state\.expect` is missing: level of"):
        load_config(write(tmp_path, more=more), {})
    load_config(write(tmp_path, more=more.replace("level }}", "a }}")), {})


def test_a_query_needs_the_argument_that_chooses_the_state(tmp_path: Path) -> None:
    room = 'properties.room = { enum = ["a", "b"] }'
    more = f"""
[tools.light]
description = "Light."
parameters = {{ type = "object", required = ["room"], {room} }}
state = {{ topic = {{ room = {{ a = "x", b = "y" }} }}, expect = "on" }}
[tools.which]
description = "Which."
query = "{{{{ states.light }}}}"
parameters = {{ type = "object", required = ["room"], {room} }}
"""
    load_config(write(tmp_path, more=more), {})
    for changed, message in (
        (more.replace('"b"] } }\n', '"c"] } }\n'), "there is none for c"),
        (more.rpartition("parameters")[0], "needs a required argument room"),
        ("5".join(more.rsplit('["room"]', 1)), r"write `parameters\.required` of this tool as a list with room"),
        ("5".join(more.split('["room"]', 1)), "room must be in `required`"),
    ):
        with pytest.raises(ConfigError, match=message):
            load_config(write(tmp_path, more=changed), {})


def test_a_station_without_templates_imports_none(tmp_path: Path) -> None:
    """Nor does one with templates import what tokenizes."""
    plain = tmp_path / "plain.toml"
    plain.write_text('[tools.stop]\ndescription = "Stop."\n')
    code = "import sys; from pathlib import Path; from lineside.edge.station_file import load_config\n"
    code += "load_config(Path(sys.argv[1]), {}); print(*({'jinja2', 'mistral_common', 'cv2'} & sys.modules.keys()))"
    for path, loaded in ((plain, ""), (write(tmp_path), "jinja2")):
        ran = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True)
        assert ran.stdout.strip() == loaded
