"""Large pages of memory for a large model: when they are asked for, and that a process which does so gets them."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lineside.edge.command_line.station import run
from lineside.edge.large_pages import LARGE_BYTES, SWITCH, VARIABLE, changed, weights_bytes
from lineside.runtime.defaults import DEFAULT_BUNDLE
from tests.conftest import ROOT

LARGE_PAGE_KB = 2048
ASKED = "glibc.malloc.hugetlb=1"
REAL_SWITCH = Path("/") / SWITCH
ON_REQUEST = REAL_SWITCH.exists() and "[madvise]" in REAL_SWITCH.read_text()
only_on_request = pytest.mark.skipif(not ON_REQUEST, reason="this machine does not give large pages on request")
PROGRAM = """
import os, sys
from pathlib import Path
from lineside.edge.command_line.station import run
from lineside.edge.large_pages import use_large_pages
print(os.getpid(), sys.argv[1:], os.environ.get("GLIBC_TUNABLES", ""), flush=True)
use_large_pages([Path(sys.argv[1])])
memory = bytearray(os.urandom(1)) * 64_000_000
lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
print(next(int(line.split()[1]) for line in lines if line.startswith("AnonHugePages")))
"""


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """Something as large as a large bundle, without taking room on the disk."""
    bundle = tmp_path / "large"
    bundle.mkdir()
    with (bundle / "decoder.data").open("wb") as file:
        file.truncate(LARGE_BYTES)
    return bundle


def switch(root: Path, text: str) -> Path:
    (root / SWITCH).parent.mkdir(parents=True, exist_ok=True)
    (root / SWITCH).write_text(text)
    return root


def test_what_is_set_already_stays(tmp_path: Path) -> None:
    root = switch(tmp_path, "always [madvise] never\n")
    assert changed({"A": "b"}, LARGE_BYTES, root) == {"A": "b", VARIABLE: ASKED}
    found = changed({VARIABLE: "glibc.malloc.arena_max=2"}, LARGE_BYTES, root)
    assert found == {VARIABLE: f"glibc.malloc.arena_max=2:{ASKED}"}


@pytest.mark.parametrize("value", ["glibc.malloc.hugetlb=1", "glibc.malloc.hugetlb=0", "a.b=1:glibc.malloc.hugetlb=2"])
def test_a_process_never_starts_twice_nor_against_the_users_word(tmp_path: Path, value: str) -> None:
    assert changed({VARIABLE: value}, LARGE_BYTES, switch(tmp_path, "always [madvise] never\n")) is None


@pytest.mark.parametrize("text", ["[always] madvise never\n", "always madvise [never]\n", ""])
def test_not_where_linux_gives_them_to_all_or_to_none(tmp_path: Path, text: str) -> None:
    assert changed({}, LARGE_BYTES, switch(tmp_path, text)) is None
    assert changed({}, LARGE_BYTES, tmp_path / "no such system") is None


def test_not_for_a_small_model(tmp_path: Path, large: Path) -> None:
    root = switch(tmp_path, "always [madvise] never\n")
    assert changed({}, weights_bytes(large), root) is not None
    assert changed({}, LARGE_BYTES - 1, root) is None
    assert weights_bytes(tmp_path / "missing") == 0


@only_on_request
def test_the_process_goes_on_in_its_place_with_large_pages(tmp_path: Path, large: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if key != VARIABLE}
    command = [sys.executable, "-c", PROGRAM]

    def ran(bundle: Path) -> list[str]:
        done = subprocess.run(
            [*command, str(bundle), "two words"], capture_output=True, text=True, check=True, env=environment, cwd=ROOT
        )
        return done.stdout.splitlines()

    before, after, got = ran(large)
    number, arguments = before.split(maxsplit=1)
    assert after.split(maxsplit=1) == [number, f"{arguments.strip()} {ASKED}"]
    assert "two words" in arguments
    _, without = ran(tmp_path / "missing")
    assert int(got) >= LARGE_PAGE_KB > int(without)


class Replaced(Exception):
    """Instead of what would go on in the process's place."""


@only_on_request
def test_a_station_with_a_large_model_asks_before_it_is_opened(
    tmp_path: Path, large: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def replace(program: str, _arguments: list[str], environment: dict[str, str]) -> None:
        raise Replaced(program, environment[VARIABLE])

    shutil.copy(DEFAULT_BUNDLE / "bundle.json", large)
    (tmp_path / "station.toml").write_text(f'[station]\nname = "s"\n[model]\nbundle = "{large.name}"\n')
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr(os, "execve", replace)
    with pytest.raises(Replaced) as found:
        run(argparse.Namespace(config=tmp_path))
    assert found.value.args == (sys.executable, ASKED)
    assert not list(tmp_path.glob("*.db"))
