"""Mistakes about servers of the Model Context Protocol are named, and none of them is started for that."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from lineside.edge.errors import ConfigError
from lineside.edge.station_file import load_config

RIGHT = """
[tools.stop]
description = "Stop."
[mcp.plant]
command = ["touch", "started"]
env = { TOKEN = "abc" }
tools.set_lamp = { limits.on.const = true, tool = "lamp/set" }
[mcp.far]
url = "https://example.org/mcp"
headers = { Authorization = "$KEY" }
start_s = 2.5
[mcp.far.tools.look]
confirm_s = 5
parameters = { type = "object", properties = { at = { type = "string" } } }
"""


def mistakes(folder: Path, text: str) -> str:
    path = folder / "station.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_config(path, {})
    return str(caught.value)


def test_servers_are_read_and_their_secrets_do_not_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY", "hidden")
    path = tmp_path / "station.toml"
    path.write_text(RIGHT)
    config = load_config(path, {})
    assert config.mcp["plant"].tools["set_lamp"].called("set_lamp") == "lamp/set"
    assert config.mcp["far"].tools["look"].called("look") == "look"
    assert "abc" not in repr(config)
    assert "set_lamp" not in config.tools
    assert not (tmp_path / "started").exists()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('url = "https://example.org/mcp"', "", "`mcp.far` needs either a `command` or a `url`"),
        ("start_s = 2.5", 'command = ["x"]', "`mcp.far` needs either a `command` or a `url`"),
        ("https://", "ftp://", "`mcp.far.url` begins with neither http:// nor https://"),
        ("$KEY", "$NO_SUCH", "`mcp.far.headers.Authorization`: there is no variable NO_SUCH"),
        ("env = {", "headers = {", "`mcp.plant.headers` is for a server with a `url`"),
        ("start_s = 2.5", "start_s = 0", "`mcp.far.start_s`"),
        ("start_s = 2.5", "allow = ['look']", "unknown key `mcp.far.allow`"),
        ("tools.set_lamp = {", "tools.stop = {", "`mcp.plant.tools.stop` has the name of `tools.stop`"),
        ("[mcp.far.tools.look]", "[mcp.far.tools.set_lamp]", "has the name of `mcp.plant.tools.set_lamp`"),
        ("tools.set_lamp = {", 'tools."set/lamp" = {', "the server's own goes into `tool`"),
        ("confirm_s = 5", 'python = "a:b"', "`mcp.far.tools.look`: a call goes to the server"),
        ("confirm_s = 5", "confirm_s = 500", "`mcp.far.tools.look.confirm_s` is longer than a command lives"),
        ("confirm_s = 5", "limits.to.const = 1", "`mcp.far.tools.look.limits.to`: no such argument; the tool has at"),
        ("tools.set_lamp", "#", "`mcp.plant.tools` names none"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: str, new: str, message: str) -> None:
    monkeypatch.setenv("KEY", "hidden")
    assert old in RIGHT
    assert message in mistakes(tmp_path, RIGHT.replace(old, new))


def test_the_library_is_loaded_for_a_station_with_servers_alone(tmp_path: Path) -> None:
    """Reading a file that has some does not load it."""
    path = tmp_path / "station.toml"
    path.write_text(RIGHT.replace("$KEY", "x"))
    program = f"""
import sys
from pathlib import Path
from lineside.edge.station_file import load_config
load_config(Path({str(path)!r}))
print([name for name in ("mcp", "httpx2", "anyio", "onnxruntime") if name in sys.modules])
"""
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
