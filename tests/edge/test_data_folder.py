"""Where the database goes."""

from __future__ import annotations

from pathlib import Path

from lineside.edge.config import Config, StationConfig
from lineside.edge.data_folder import database_path
from tests.conftest import ROOT


def test_beside_the_station_file(tmp_path: Path) -> None:
    assert Config(folder=tmp_path).store_path == tmp_path / "lineside.db"


def test_never_in_a_checkout_or_in_the_package(tmp_path: Path) -> None:
    (tmp_path / "clone/.git").mkdir(parents=True)
    state = {"XDG_STATE_HOME": str(tmp_path / "state")}
    for folder in (tmp_path / "clone/stations/a", tmp_path / "clone/stations/b", ROOT / "edge"):
        path = database_path("press4", folder, state)
        assert path.parent.parent == tmp_path / "state/lineside"
        assert path.parent.name.startswith("press4-")
    assert len({database_path("press4", tmp_path / "clone" / name, state) for name in "ab"}) == 2


def test_a_relative_state_home_is_none(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    path = database_path("press4", tmp_path, {"XDG_STATE_HOME": "state"})
    assert path.is_relative_to(Path.home() / ".local/state/lineside")


def test_one_that_is_there_already_is_used_on(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / "lineside.db").touch()
    assert database_path("press4", tmp_path, {}) == tmp_path / "lineside.db"


def test_what_the_file_says_goes_first(tmp_path: Path) -> None:
    from lineside.edge.config import StoreConfig

    config = Config(StationConfig("a"), store=StoreConfig("data/x.db"), folder=tmp_path)
    assert config.store_path == tmp_path / "data/x.db"
