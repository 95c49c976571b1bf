"""Station files with one fault each: one line, which names the key, in our own words."""

from __future__ import annotations

import copy
import json
import re
import shutil
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lineside.edge.errors import ConfigError
from lineside.edge.phrase_files import PhraseFile
from lineside.edge.station_file import load_config, station_schema
from lineside.edge.toml_file import read_toml
from tests.conftest import ROOT

STATIONS = [*sorted((ROOT / "deploy/stations").glob("*/station.toml")), ROOT / "tests/support/hall.toml"]
SCHEMA = station_schema()
RAW = re.compile(
    r"Input should|Field required|Unexpected keyword|Extra inputs|valid (string|integer|number)|should match|union"
    r"|value_error|function-(after|before|wrap)|literal|dictionary|instance of|\btuple\b|\[str|PhraseConfig"
)
"""What comes from pydantic, and means nothing to whoever wrote the file."""
NAMED = ("cameras", "triggers", "tools", "outputs")
"""Tables of tables, by names of the user's own."""
Fault = tuple[str, dict[str, Any]]
"""What the line must name, and the contents of the file."""


def written(value: Any) -> str:
    """As TOML, in one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {written(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(written, value)) + "]"
    return json.dumps(value)


def faults(data: dict[str, Any]) -> Iterator[Fault]:
    """For each table an unknown key and each needed key missing; for each value another type, or a slip in it."""
    for path, value in places(data):
        name = ".".join(map(str, path))
        if isinstance(value, dict) and (keys := SCHEMA.keys(path)):
            yield f"{name}.qqqq".lstrip("."), changed(data, (*path, "qqqq"), 1)
            for key in value.keys() & set(keys):
                slipped = {slip(each) if each == key else each: inner for each, inner in value.items()}
                yield f"{name}.{slip(key)}".lstrip("."), changed(data, path, slipped)
                if SCHEMA.is_needed((*path, key)):
                    yield f"{name}.{key}", changed(data, path, {k: v for k, v in value.items() if k != key})
        elif path and SCHEMA.at(path) and isinstance(value, str | int | float):
            wrong = "qqqq" if isinstance(value, int | float) else 7.5 if SCHEMA.choices(path) or "." in name else 5
            lists = any(way.get("type") == "array" for way in SCHEMA.at(path))
            yield in_words(path), changed(data, path, [wrong] if SCHEMA.is_text(path) and not lists else wrong)
            if isinstance(value, str) and SCHEMA.choices(path):
                yield in_words(path), changed(data, path, slip(value))


def slip(text: str) -> str:
    return f"{text[:-2]}{text[-1]}{text[-2]}x"


def in_words(path: tuple[str | int, ...]) -> str:
    return ".".join(str(part) for part in path if isinstance(part, str))


def places(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    yield path, value
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for part, below in inner:
        yield from places(below, (*path, part))


def changed(data: dict[str, Any], path: tuple[str | int, ...], value: Any) -> dict[str, Any]:
    data = copy.deepcopy(data)
    if not path:
        return dict(value)
    table: Any = data
    for part in path[:-1]:
        table = table[part]
    table[path[-1]] = value
    return data


def shape(data: dict[str, Any], right: dict[str, Any], above: tuple[str, ...] = ()) -> tuple[object, ...]:
    """Where `data` differs: the same for two cameras, and for the first and the second of a list."""
    for key in [*right, *(key for key in data if key not in right)]:
        said, was = data.get(key), right.get(key)
        if said != was:
            named = (*above, "*" if len(above) == 1 and above[0] in NAMED else key)
            if isinstance(said, dict) and isinstance(was, dict):
                return shape(said, was, named)
            return (*named, type(said), set(data) == set(right))
    return above


def test_each_fault_is_one_line_that_names_the_key(tmp_path: Path) -> None:
    wrong: list[str] = []
    seen = set[tuple[object, ...]]()
    for station in STATIONS:
        folder = tmp_path / station.parent.name
        shutil.copytree(station.parent, folder, copy_function=lambda source, to: Path(to).symlink_to(source))
        right = tomllib.loads(station.read_text().replace("port = 0", "port = 1"))
        for name, data in faults(right):
            if (alike := shape(data, right)) not in seen:
                seen.add(alike)
                wrong += not_one_line(folder / "faulty.toml", name, data)
    assert not wrong, "\n".join(wrong)
    assert len(seen) > 150


def not_one_line(file: Path, name: str, data: dict[str, Any]) -> list[str]:
    file.write_text("\n".join(f"{key} = {written(value)}" for key, value in data.items()))
    try:
        load_config(file, {})
    except ConfigError as error:
        lines = str(error).splitlines()
        good = len(lines) == 1 and name.split(".")[-1] in lines[0] and not RAW.search(lines[0])
        return [] if good else [f"{name}: {error}"]
    return [f"{name}: taken"]


def told(file: Path, text: str, environment: dict[str, str] | None = None) -> list[str]:
    """The lines about a station file, and none where it is right."""
    file.write_text(text)
    try:
        load_config(file, environment or {})
    except ConfigError as error:
        return str(error).splitlines()
    return []


@pytest.mark.parametrize(
    "text",
    [
        '[cameras]\ncam0 = "rtsp://admin:hunter2@10.0.0.5/s"',
        '[cameras.a]\nkind = "rtsp://admin:hunter2@10.0.0.5/s"\nsource = "0"',
        '[cameras.a]\nkind = "folder"\nsource = "rtsp://admin:hunter2@10.0.0.5/s"',
        '[mcp.m]\ncommand = "npx -y server --token=hunter2"',
        '[mqtt]\nport = "mqtt://u:hunter2@h"',
        '[mqtt]\npassword = ["hunter2"]',
        '[mqtt]\nfallback_hosts = "u:hunter2@h"',
        '[mqtt]\nfallback_hosts = ["mqtt://u:hunter2@h"]',
        '[kuksa]\naddress = "http://u:hunter2@h"',
        '[tools.x]\ndescription = "d"\npublish = "mqtt://u:hunter2@h"',
        '[outputs.o]\nkind = "modbus"\naddress = "u:hunter2@h"\ncoil = 1',
        '[outputs.o]\nkind = "http"\naddress = "ftp://u:hunter2@h"',
        '"mqtt://u:hunter2@h" = 1',
    ],
)
def test_a_secret_in_the_wrong_place_is_not_shown(text: str, tmp_path: Path) -> None:
    lines = told(tmp_path / "station.toml", text)
    assert lines
    assert not [line for line in lines if "hunter2" in line]


@pytest.mark.parametrize("variable", ["MQTT__PORT", "MQTT__HOST", "MQTT__KEEPALIVE_S", "STATION__NAME"])
@pytest.mark.parametrize("secret", ["hunter2", "hunter2 hunter2", "[hunter2]"])
def test_what_a_variable_holds_is_not_shown(variable: str, secret: str, tmp_path: Path) -> None:
    lines = told(tmp_path / "station.toml", "", {f"LINESIDE_{variable}": secret})
    assert not [line for line in lines if "hunter2" in line]
    assert lines or secret == "hunter2"


@pytest.mark.parametrize("secret", ["rtsp://u:hunter2@h", "hunter2 --token"])
def test_no_secret_is_shown_whatever_value_it_replaces(secret: str, tmp_path: Path) -> None:
    shown: list[str] = []
    seen = set[tuple[object, ...]]()
    for station in STATIONS:
        folder = tmp_path / station.parent.name
        shutil.copytree(station.parent, folder, copy_function=lambda source, to: Path(to).symlink_to(source))
        right = tomllib.loads(station.read_text().replace("port = 0", "port = 1"))
        for data in (changed(right, path, secret) for path, _ in places(right) if path):
            if (alike := shape(data, right)) not in seen:
                seen.add(alike)
                text = "\n".join(f"{key} = {written(value)}" for key, value in data.items())
                shown += [line for line in told(folder / "faulty.toml", text) if "hunter2" in line]
    assert not shown, "\n".join(shown)
    assert len(seen) > 100


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            '[cameras.a]\nkind = "vidoe"\nsource = "0"',
            ':2: `cameras.a.kind` is "vidoe", and "folder", "video", "gstreamer", "genicam" or "mqtt" belongs there: '
            'did you mean "video"?',
        ),
        (
            '[outputs.a]\nkind = "gpio"\npin = "4"\non = "failed"',
            ':4: `outputs.a.on` is "failed", and "pass", "fail" or "unsure", or a list of them belongs there: did you '
            'mean "fail"?',
        ),
        (
            '[outputs.a]\nkind = "gpio"\npin = 17',
            ':3: `outputs.a.pin` is 17, and a pin such as "GPIO17" or "BOARD11" belongs there',
        ),
        (
            '[station]\nname = "a b"',
            ":2: `station.name` does not fit: a name of 1 to 64 letters, digits, _ and - belongs there",
        ),
        ('[mqtt]\nport = "18x"', ':2: `mqtt.port` is "18x", and an integer from 1 to 65535 belongs there'),
        ("[mqtt]\npassword = 17", ":2: `mqtt.password` is a number, and a text belongs there"),
        ('[mqtt]\nprot = "many"', ":2: unknown key `mqtt.prot`: did you mean `port`?"),
        (
            '[cameras.a]\nkind = "mqtt"\nsize = [1, true]',
            ":3: `cameras.a.size`, entry 2 is true, and an integer belongs there",
        ),
    ],
)
def test_what_was_found_and_what_belongs_there(text: str, sentence: str, tmp_path: Path) -> None:
    file = tmp_path / "station.toml"
    assert told(file, text)[0] == f"{file}{sentence}"


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        (
            '[mcp.m]\ncommand = "npx"\nenv = { A = "b" }\ntools.x = {}',
            [":2: `mcp.m.command` is a text, and a list of texts belongs there"],
        ),
        (
            '[mcp.m]\ncommand = ["a"]\ntools = "x"',
            [":3: `mcp.m.tools` is a text, and a table belongs there"],
        ),
        (
            '[[cameras]]\nname = "cam0"\n[triggers.t]\nkind = "timer"\ninterval_s = 5\ncameras = ["cam0"]',
            [":1: `cameras` is a list of 1, and a table belongs there"],
        ),
        (
            "[toolsx.a]\ndescription = 3",
            [
                ":1: unknown key `toolsx`: did you mean `tools`?",
                ":2: `tools.a.description` is 3, and a text belongs there",
            ],
        ),
        ("[safety]\nparked = -1", [":2: `safety.parked` is -1, and a text belongs there"]),
    ],
)
def test_what_only_follows_is_not_told(text: str, sentences: list[str], tmp_path: Path) -> None:
    file = tmp_path / "station.toml"
    assert told(file, text) == [f"{file}{sentence}" for sentence in sentences]


def test_a_mistake_of_a_phrase_file_has_its_line(tmp_path: Path) -> None:
    file = tmp_path / "words.toml"
    file.write_text('language = "enn"\n[phrases]\nstop = [3]\n')
    with pytest.raises(ConfigError) as caught:
        read_toml(file, PhraseFile)
    assert str(caught.value).splitlines() == [
        f'{file}:1: `language` is "enn", and "en", "de", "fr" or "es" belongs there: did you mean "en"?',
        f"{file}:3: `phrases.stop`, entry 1 is 3, and a text or a table belongs there",
    ]
