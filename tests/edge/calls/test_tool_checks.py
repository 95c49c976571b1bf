"""`lineside check station.toml` says of tools what the daemon would find when it starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from lineside.edge.calls.tool_checks import tool_problems
from lineside.edge.errors import ConfigError
from lineside.edge.station_file import load_config

TOOLS = """
[tools.a]
description = "A."
python = "no_such_module:function"
[tools.b]
description = "B."
quiet_hours = ["22-6", "22:00-06:00"]
[tools.b.publish]
topic = "lamp/set"
payload = { state = "{{ colour }}" }
[tools.c]
description = "C."
[tools.c.parameters]
type = "object"
properties.percent = { type = "integer" }
[tools.c.limits]
percent = { maxLength = 3 }
[tools.d]
description = "D."
parameters = { type = "text" }
"""


def test_every_mistake_has_its_line(tmp_path: Path) -> None:
    path = tmp_path / "station.toml"
    path.write_text(TOOLS)
    with pytest.raises(ConfigError) as caught:
        load_config(path, {}, also=(tool_problems,))
    told = [line.removeprefix(f"{path}:") for line in str(caught.value).splitlines()]
    beginnings = [
        "4: `tools.a.python`: 'no_such_module:function' cannot be imported",
        "7: `tools.b.quiet_hours`: '22-6' is not a span of time",
        "10: `tools.b.publish.payload.state`: colour is no argument of this tool",
        "17: `tools.c.limits.percent.maxLength`: `maxLength` says nothing about a integer",
        "20: `tools.d.parameters`",
    ]
    assert [line[: len(beginning)] for line, beginning in zip(told, beginnings, strict=True)] == beginnings


def test_what_is_right_passes(tmp_path: Path) -> None:
    path = tmp_path / "station.toml"
    path.write_text('[tools.a]\ndescription = "A."\npython = "json:loads"\nquiet_hours = ["22:00-06:00"]\n')
    assert load_config(path, {}, also=(tool_problems,)).tools["a"].python == "json:loads"
