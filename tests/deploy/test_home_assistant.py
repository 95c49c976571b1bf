"""The add-on for Home Assistant: its files by the supervisor's rules, and what its script hands on.

It was never built here: its base image cannot be had without a registry.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from lineside import __version__
from tests.conftest import ROOT

yaml = pytest.importorskip("yaml")
FOLDER = ROOT / "deploy/home-assistant/lineside"
OPTION = r"^(str|int|float|bool|email|url|password|port|device)(\(.*\))?\??$|^(match|list)\(.+\)\??$"
RULES: dict[str, Any] = {
    # What supervisor/addons/validate.py of github.com/home-assistant/supervisor asks for, of the keys used here. It
    # drops others without a word: here they are a mistake.
    "type": "object",
    "required": ["name", "version", "slug", "description", "arch"],
    "additionalProperties": False,
    "properties": {
        "name": {"type": "string"},
        "version": {"type": "string", "pattern": r"^\d+\.\d+\.\d+"},
        "slug": {"type": "string", "pattern": r"^[-_.A-Za-z0-9]+$"},
        "description": {"type": "string"},
        "arch": {"items": {"enum": ["amd64", "aarch64", "armhf", "armv7", "i386"]}},
        "startup": {"enum": ["initialize", "system", "services", "application", "once"]},
        "boot": {"enum": ["auto", "manual", "manual_only"]},
        "init": {"type": "boolean"},
        "stage": {"enum": ["stable", "experimental", "deprecated"]},
        "services": {"items": {"pattern": "^(mqtt|mysql):(provide|want|need)$"}},
        "map": {
            "items": {
                "type": "object",
                "required": ["type"],
                "additionalProperties": False,
                "properties": {
                    "type": {"enum": ["data", "ssl", "share", "media", "addon_config", "homeassistant_config"]},
                    "read_only": {"type": "boolean"},
                },
            }
        },
        "options": {"type": "object"},
        "schema": {"type": "object", "additionalProperties": {"type": "string", "pattern": OPTION}},
        "timeout": {"type": "integer", "minimum": 10, "maximum": 300},
        "backup": {"enum": ["hot", "cold"]},
    },
}
BASHIO = """
bashio::config() { sed -n "s/^$1: //p" "$OPTIONS"; }
bashio::services() { sed -n "s/^$2: //p" "$SERVICE"; }
. "$SCRIPT"
"""


def read(name: str) -> Any:
    return yaml.safe_load((FOLDER / name).read_text())


def test_the_configuration_is_as_the_supervisor_wants_it() -> None:
    config = read("config.yaml")
    jsonschema.Draft202012Validator(RULES).validate(config)
    assert config["version"] == __version__
    assert config["services"] == ["mqtt:need"]
    assert config["options"].keys() == config["schema"].keys()
    build = read("build.yaml")
    assert build["build_from"].keys() == set(config["arch"])
    for value in build["build_from"].values():
        assert re.fullmatch(r"([a-zA-Z\-.:\d]+/)*[-\w]+/[-\w]+(:[.\-\w]+)?", value)


def test_every_option_fits_its_schema_and_is_explained() -> None:
    config, docs = read("config.yaml"), (FOLDER / "DOCS.md").read_text()
    for name, rule in config["schema"].items():
        value = config["options"][name]
        if (found := re.fullmatch(r"list\((.*)\)", rule)) is not None:
            assert value in found[1].split("|")
        if (found := re.fullmatch(r"match\((.*)\)", rule)) is not None:
            assert re.match(found[1], value)
        assert f"`{name}`" in docs
    templates = re.fullmatch(r"list\((.*)\)", config["schema"]["template"])
    assert templates is not None
    assert sorted(templates[1].split("|")) == sorted(p.parent.name for p in ROOT.glob("deploy/stations/*/station.toml"))


@pytest.mark.parametrize("language", ["en", "de"])
def test_every_option_has_words(language: str) -> None:
    words = read(f"translations/{language}.yaml")["configuration"]
    assert words.keys() == read("config.yaml")["schema"].keys()
    assert all(set(each) == {"name", "description"} for each in words.values())


def test_hadolint_has_nothing_to_complain_of() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    if not hadolint.exists():
        pytest.skip("hadolint is not there")
    done = subprocess.run([hadolint, FOLDER / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_script_hands_on_options_and_the_broker(tmp_path: Path) -> None:
    """To a program in the place of Lineside, with functions in the place of bashio's."""
    bash = shutil.which("bash")
    assert bash is not None
    options = tmp_path / "options"
    options.write_text("station: hall\ntemplate: home\ndiscovery_prefix: ha\nlog_level: warning\n")
    service = tmp_path / "service"
    service.write_text("host: core-mosquitto\nport: 1883\nusername: addons\npassword: p $x\nssl: false\n")
    program = tmp_path / "bin/lineside"
    program.parent.mkdir()
    program.write_text(
        f'#!/bin/sh\necho "$@" >> {tmp_path}/said\nenv | grep LINESIDE_ > {tmp_path}/environment || true\n'
    )
    program.chmod(0o755)
    script = tmp_path / "run.sh"
    script.write_text((FOLDER / "run.sh").read_text().replace("/config/", f"{tmp_path}/"))
    environment = {
        "PATH": f"{program.parent}:{os.environ['PATH']}",
        "OPTIONS": str(options),
        "SERVICE": str(service),
        "SCRIPT": str(script),
    }
    subprocess.run([bash, "-c", BASHIO], env=environment, check=True)
    folder = f"{tmp_path}/hall"
    assert (tmp_path / "said").read_text().splitlines() == [
        f"new {folder} --template home",
        f"--log text --log-level warning run -c {folder}/station.toml",
    ]
    assert sorted((tmp_path / "environment").read_text().splitlines()) == [
        "LINESIDE_HOME_ASSISTANT__DISCOVERY_PREFIX=ha",
        "LINESIDE_MQTT__HOST=core-mosquitto",
        "LINESIDE_MQTT__PASSWORD=p $x",
        "LINESIDE_MQTT__PORT=1883",
        "LINESIDE_MQTT__TLS=false",
        "LINESIDE_MQTT__USERNAME=addons",
        "LINESIDE_STATION__DATA=/data",
    ]
