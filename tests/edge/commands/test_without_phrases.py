"""A station whose phrases are left out is the same station, and its model decides on everything."""

from __future__ import annotations

import pytest

from lineside.edge.commands.phrases.phrasing import NoPhrases, has_phrases, phrases_of, without_phrases
from lineside.edge.station_file import load_config
from tests.conftest import ROOT


@pytest.mark.parametrize("station", ["ballscrew", "home", "car"])
def test_nothing_but_the_phrases_is_left_out(station: str) -> None:
    config = load_config(ROOT / "deploy" / "stations" / station / "station.toml")
    bare = without_phrases(config)
    assert has_phrases(config)
    assert isinstance(phrases_of(bare), NoPhrases)
    assert {name: (tool.description, tool.parameters) for name, tool in bare.tools.items()} == {
        name: (tool.description, tool.parameters) for name, tool in config.tools.items()
    }
    assert bare.commands.system == config.commands.system
