"""`[sparkplug]` in a station file, and what is loaded for it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from lineside.edge.errors import ConfigError
from lineside.edge.station_file import load_config


def written(folder: Path, text: str) -> Path:
    path = folder / "station.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('[sparkplug]\nhost_id = "scada"\n', "`sparkplug.group_id` is missing"),
        (
            '[sparkplug]\ngroup_id = "a/b"\n',
            "`sparkplug.group_id` does not fit: a text without /, + and #",
        ),
        ('[sparkplug]\ngroup_id = "a"\nmax_waiting = 1\n', "`sparkplug.max_waiting`"),
    ],
)
def test_a_mistake_is_told(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(ConfigError) as told:
        load_config(written(tmp_path, text))
    assert problem in str(told.value)


def test_a_library_that_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lineside.edge.sparkplug_checks.find_spec", lambda _name: None)
    with pytest.raises(ConfigError, match=r"pip install 'lineside\[sparkplug\]'"):
        load_config(written(tmp_path, '[sparkplug]\ngroup_id = "plant1"\n'))


def test_reading_a_station_file_loads_no_protobuf(tmp_path: Path) -> None:
    path = written(tmp_path, '[sparkplug]\ngroup_id = "plant1"\n')
    look = (
        "import sys; from pathlib import Path; from lineside.edge.station_file import load_config; "
        f"load_config(Path({str(path)!r})); print([n for n in sys.modules if n.startswith('google.protobuf.')])"
    )
    assert subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True).stdout == "[]\n"
