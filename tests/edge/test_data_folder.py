"""Where all that a station keeps goes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from lineside.edge.audit_config import AuditConfig
from lineside.edge.config import Config, StationConfig, StoreConfig
from lineside.edge.data_folder import data_folder
from lineside.edge.history_config import HistoryConfig
from lineside.edge.inspect_config import InspectConfig
from lineside.edge.station_file import load_config
from tests.conftest import ROOT

UNNAMED = StationConfig()


def kept(config: Config) -> dict[str, Path]:
    """Every path that a daemon or a command writes."""
    return {
        "database": config.store_path,
        "models": config.models_path,
        "audit": config.audit_path,
        "history": config.history_path,
        "evidence": config.evidence_path or Path(),
        "calibration": config.calibration_path,
        "commands": config.commands_path,
        "changes": config.changes_path,
        "gate": config.gate_path("cam0"),
        "usual": config.usual_path("cam0"),
    }


def in_folder(folder: Path, station: StationConfig = UNNAMED) -> Config:
    file = folder / "station.toml"
    return Config(station, inspect=InspectConfig(evidence_folder="ev"), folder=folder, file=file)


def test_beside_the_station_file(tmp_path: Path) -> None:
    assert {path.relative_to(tmp_path).as_posix() for path in kept(in_folder(tmp_path)).values()} == {
        "lineside.db",
        "lineside.models",
        "lineside.audit",
        "history",
        "ev",
        "station.calibration.json",
        "station.commands.json",
        "station.remote.json",
        "station.cam0.gate.npz",
        "station.cam0.usual.npz",
    }


def test_nothing_in_the_folder_of_a_station_file_that_names_another(tmp_path: Path) -> None:
    """Whatever is there: a gate in `/etc` could not be learnt anew."""
    there = in_folder(tmp_path / "etc")
    there.folder.mkdir()
    for path in kept(there).values():
        path.touch()
    config = in_folder(tmp_path / "etc", StationConfig("press4", data=str(tmp_path / "lib")))
    assert {name: path.parent for name, path in kept(config).items()} == dict.fromkeys(kept(config), tmp_path / "lib")


def test_never_in_a_checkout_or_in_the_package(tmp_path: Path) -> None:
    (tmp_path / "clone/.git").mkdir(parents=True)
    state = {"XDG_STATE_HOME": str(tmp_path / "state")}
    for folder in (tmp_path / "clone/stations/a", tmp_path / "clone/stations/b", ROOT / "edge"):
        path = data_folder("press4", folder, state)
        assert path.parent == tmp_path / "state/lineside"
        assert path.name.startswith("press4-")
        assert {name: path.is_relative_to(folder) for name, path in kept(in_folder(folder)).items()} == dict.fromkeys(
            kept(in_folder(folder)), False
        )
    assert len({data_folder("press4", tmp_path / "clone" / name, state) for name in "ab"}) == 2


def test_a_relative_state_home_is_none(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    path = data_folder("press4", tmp_path, {"XDG_STATE_HOME": "state"})
    assert path.is_relative_to(Path.home() / ".local/state/lineside")


def test_one_that_is_there_already_is_used_on(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    config = in_folder(tmp_path)
    (tmp_path / "station.cam0.gate.npz").touch()
    assert config.gate_path("cam0").parent == tmp_path
    assert config.gate_path("cam1").parent != tmp_path
    (tmp_path / "lineside.db").touch()
    assert {path.parent for path in kept(config).values()} == {tmp_path}


def test_what_the_file_says_goes_first(tmp_path: Path) -> None:
    config = replace(
        in_folder(tmp_path, StationConfig("a", data="data")),
        store=StoreConfig("x/a.db"),
        history=HistoryConfig("/b"),
        audit=AuditConfig(folder="c"),
    )
    assert config.store_path == tmp_path / "data/x/a.db"
    assert config.history_path == Path("/b")
    assert config.audit_path == tmp_path / "data/c"


def test_changes_from_outside_are_read_there(tmp_path: Path) -> None:
    """Where a variable says so, too; and a variable goes before a change."""
    file = tmp_path / "etc/station.toml"
    file.parent.mkdir()
    file.write_text('[remote]\nallow = ["config"]\n')
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib/station.remote.json").write_text(
        '{"config": {"inspect.pass_below": 0.1, "inspect.fail_above": 0.9}}'
    )
    variables = {"LINESIDE_STATION__DATA": str(tmp_path / "lib"), "LINESIDE_INSPECT__FAIL_ABOVE": "0.8"}
    inspect = load_config(file, variables).inspect
    assert (inspect.pass_below, inspect.fail_above) == (0.1, 0.8)
    assert load_config(file, {}).inspect == InspectConfig()
