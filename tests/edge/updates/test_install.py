"""A model is installed at a station: verified, tried out, made the current one in one step; whatever breaks off."""

from __future__ import annotations

import errno
import itertools
import os
import shutil
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import minisign
import pytest

from lineside.edge.command_line.main import main
from lineside.edge.errors import UpdateError
from lineside.edge.station_file import load_config
from lineside.edge.updates.install import install, models_store, settle
from lineside.edge.updates.models_store import ModelsStore
from lineside.edge.updates.sources import FolderSource, WebSource, open_source
from lineside.edge.updates.staging import Wanted, fetch
from lineside.runtime.bundle import Bundle, file_sha256, open_bundle
from lineside.runtime.errors import BundleDamaged, SelfTestFailed
from lineside.runtime.manifest import MANIFEST
from tests.support.bundles import copy_bundle, damaged, edit_manifest
from tests.support.shelf import shelf


def quiet(_sentence: str) -> None:
    """Progress that nobody reads."""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "station.toml"
    path.write_text('[station]\nname = "press4"\n')
    return path


@pytest.fixture
def store(tmp_path: Path) -> ModelsStore:
    return ModelsStore(tmp_path / "lineside.models", "")


@pytest.fixture
def other(random_bundle: Path, tmp_path: Path) -> Path:
    """The same weights under another name: another bundle."""
    copy = copy_bundle(random_bundle, tmp_path / "other")
    edit_manifest(copy, lambda manifest: manifest.update(name="other"))
    return copy


def current_bundle(file: Path) -> str:
    path = load_config(file).bundle_path
    return open_bundle(path).sha256 if path.parent.name == "bundles" else ""


def test_install_list_and_roll_back(
    file: Path, random_bundle: Path, other: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    at = ["-c", str(file)]
    first, second = open_bundle(random_bundle).sha256, open_bundle(other).sha256
    assert main(["model", "rollback", *at]) == 1
    assert "none to go back to" in capsys.readouterr().err
    assert main(["model", "install", str(random_bundle), *at]) == 0
    assert current_bundle(file) == first
    assert main(["model", "install", str(other), *at]) == 0
    assert current_bundle(file) == second
    capsys.readouterr()
    assert main(["model", "list", *at]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert {line.split()[0]: line.split()[1] for line in lines[1:]} == {"current": second[:12], "former": first[:12]}
    assert main(["model", "rollback", *at]) == 0
    assert current_bundle(file) == first
    assert main(["model", "install", str(other), *at]) == main(["model", "install", str(other), *at]) == 0
    assert main(["model", "rollback", *at]) == 0
    assert current_bundle(file) == first


def test_a_bundle_that_the_station_file_names_anew_runs(file: Path, random_bundle: Path, other: Path) -> None:
    install(load_config(file), Wanted(FolderSource(random_bundle)), quiet)
    file.write_text(f'[model]\nbundle = "{other}"\n')
    assert load_config(file).bundle_path == other
    assert models_store(load_config(file)).current().former is None


def test_a_damaged_bundle_is_not_installed(file: Path, random_bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleDamaged, match=r"decoder\.data was damaged on its way"):
        install(load_config(file), Wanted(FolderSource(damaged(random_bundle, tmp_path / "bad"))), quiet)
    assert current_bundle(file) == ""
    install(load_config(file), Wanted(FolderSource(random_bundle)), quiet)
    assert current_bundle(file) == open_bundle(random_bundle).sha256


def test_a_model_that_fails_its_self_test_is_not_installed(file: Path, random_bundle: Path, tmp_path: Path) -> None:
    bad = damaged(random_bundle, tmp_path / "bad")
    weights = bytes(0x40 ^ byte for byte in (bad / "decoder.data").read_bytes())
    (bad / "decoder.data").write_bytes(weights)
    digest = file_sha256(bad / "decoder.data")
    edit_manifest(bad, lambda manifest: manifest["files"]["decoder.data"].update(sha256=digest))
    with pytest.raises(SelfTestFailed):
        install(load_config(file), Wanted(FolderSource(bad)), quiet)
    assert current_bundle(file) == ""


def test_the_hash_and_the_signature_are_those_that_were_wanted(file: Path, other: Path, tmp_path: Path) -> None:
    pair, stranger = minisign.KeyPair.generate(), minisign.KeyPair.generate()
    key = tmp_path / "line.pub"
    key.write_bytes(bytes(pair.public_key))
    file.write_text('[updates]\nkey_file = "line.pub"\n')
    at = ["model", "install", str(other), "-c", str(file)]
    assert main(at) == 1  # there is no signature
    signature = other / f"{MANIFEST}.minisig"
    signature.write_bytes(bytes(stranger.secret_key.sign((other / MANIFEST).read_bytes())))
    assert main(at) == 1
    signature.write_bytes(bytes(pair.secret_key.sign(b"something else")))
    assert main(at) == 1
    signature.write_bytes(bytes(pair.secret_key.sign((other / MANIFEST).read_bytes())))
    assert main([*at, "--sha256", "0" * 64]) == 1
    assert current_bundle(file) == ""
    assert main([*at, "--sha256", open_bundle(other).sha256]) == 0
    assert current_bundle(file) == open_bundle(other).sha256


def test_a_transfer_that_broke_off_is_gone_on_with(store: ModelsStore, random_bundle: Path) -> None:
    with shelf(random_bundle) as (address, notes):
        wanted = Wanted(WebSource(address))
        half = (random_bundle / "decoder.data").stat().st_size // 2
        notes.breaks_off["decoder.data"] = half
        with pytest.raises(UpdateError, match=r"decoder\.data"), store.locked():
            fetch(store, wanted)
        notes.served.clear()
        with store.locked():
            assert fetch(store, wanted).sha256 == open_bundle(random_bundle).sha256
        had = dict(notes.served)["decoder.data"]
        assert 0 < had <= half


def test_what_is_left_of_another_bundle_goes(store: ModelsStore, random_bundle: Path, other: Path) -> None:
    with store.locked():
        left = fetch(store, Wanted(FolderSource(other))).path
        fetch(store, Wanted(FolderSource(random_bundle)))
    assert not left.exists()


@pytest.mark.parametrize(
    "address", ["http://user:secret@127.0.0.1/a", "http://", "https://127.0.0.1/a?b", "http://a:b"]
)
def test_an_address_that_cannot_be_one_is_refused(address: str) -> None:
    with pytest.raises(UpdateError) as refused:
        open_source(address)
    assert "secret" not in str(refused.value)


def test_what_does_not_answer_or_is_not_there_is_said(store: ModelsStore, tmp_path: Path) -> None:
    with shelf(tmp_path) as (address, _notes), pytest.raises(UpdateError, match="404"):
        fetch(store, Wanted(WebSource(address)))
    with pytest.raises(UpdateError, match="was not fetched"):
        fetch(store, Wanted(WebSource(address)))
    with pytest.raises(UpdateError, match="cannot be read"):
        fetch(store, Wanted(FolderSource(tmp_path / "nowhere")))


def test_an_address_beyond_the_local_network_is_refused(
    store: ModelsStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seen by the address that answers: the test has this machine answer with a public one."""
    with shelf(tmp_path) as (address, notes):
        monkeypatch.setattr("socket.socket.getpeername", lambda _socket: ("8.8.8.8", 80), raising=False)
        with pytest.raises(UpdateError, match="not on the local network"):
            fetch(store, Wanted(WebSource(address)))
    assert not notes.served


def test_a_full_disk_is_one_sentence(
    file: Path, random_bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    at = ["model", "install", str(random_bundle), "-c", str(file)]
    usage = shutil.disk_usage(file.parent)
    monkeypatch.setattr("shutil.disk_usage", lambda _path: usage._replace(free=1000))
    assert main(at) == 1
    assert "MB are missing there" in capsys.readouterr().err
    monkeypatch.undo()

    def no_room(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", no_room)
    assert main(at) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "does not fit on the disk" in error
    monkeypatch.undo()
    assert main(at) == 0


def test_two_do_not_install_at_once(file: Path, random_bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with models_store(load_config(file)).locked():
        assert main(["model", "install", str(random_bundle), "-c", str(file)]) == 1
    assert "another model is being installed" in capsys.readouterr().err


def test_killed_at_any_line_the_old_or_the_new_one_is_current(file: Path, random_bundle: Path, other: Path) -> None:
    """A forked copy is killed before the first, second ... line that changes something, until one gets to the end."""
    install(load_config(file), Wanted(FolderSource(random_bundle)), quiet)
    old, new = open_bundle(random_bundle).sha256, open_bundle(other).sha256
    store, before = models_store(load_config(file)), file.parent / "before"
    with store.locked():
        staged = fetch(store, Wanted(FolderSource(other)))
    shutil.copytree(store.folder, before)
    seen = set()
    for line in itertools.count(1):
        shutil.rmtree(store.folder)
        shutil.copytree(before, store.folder, copy_function=os.link)
        child = os.fork()
        if not child:
            _die_at(line, store, staged)
        _pid, status = os.waitpid(child, 0)
        found = store.current().bundle
        assert found in (old, new)
        open_bundle(store.bundle(found))
        seen.add(found)
        if not os.WIFSIGNALED(status):
            assert os.WEXITSTATUS(status) == 0
            break
    assert seen == {old, new}


def _die_at(line: int, store: ModelsStore, staged: Bundle) -> None:
    """In the forked copy, in which nothing is cleaned up."""
    left = line

    def trace(frame: FrameType, event: str, _argument: object) -> Any:
        nonlocal left
        if Path(frame.f_code.co_filename).name not in ("lasting.py", "models_store.py"):
            return None
        left -= event == "line"
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)
        return trace

    code = 1
    try:
        sys.settrace(trace)
        with store.locked():
            settle(store, staged)
        code = 0
    finally:
        os._exit(code)
