"""A station that asks more of its commands than the model was taught says so."""

from __future__ import annotations

from dataclasses import replace

from lineside.edge.commands.bounds import beyond
from lineside.edge.config import CommandConfig
from lineside.edge.station_file import load_config
from lineside.runtime.manifest import Taught
from tests.conftest import ROOT

ENGLISH = Taught(languages=("en",), tools_at_once=15)


def test_languages_and_tools_are_held_against_what_was_taught() -> None:
    config = load_config(ROOT / "deploy/stations/ballscrew/station.toml")
    assert beyond(config, Taught()) == []
    assert ["in de, es, fr are understood by phrases alone" in said for said in beyond(config, ENGLISH)] == [True]
    assert beyond(replace(config, tools={}), ENGLISH) == []
    many = replace(config, commands=CommandConfig(tools_at_once=16))
    assert ["taught to choose from 15" in said for said in beyond(many, ENGLISH)] == [True]
