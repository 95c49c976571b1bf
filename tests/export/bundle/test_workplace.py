"""Where a bundle is made: one export at a time, nobody else's folder, and a sentence for each failure."""

from __future__ import annotations

import dataclasses
import fcntl
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from lineside.export.bundle import stamp as stamp_module
from lineside.export.bundle.journal import Journal
from lineside.export.bundle.options import ExportOptions
from lineside.export.bundle.plan import PRECISIONS
from lineside.export.bundle.workplace import workplace
from lineside.export.bundle.writer import export_bundle
from lineside.export.command import export_command
from lineside.export.errors import TargetExists, TargetInUse
from tests.support.checkpoints import copy_checkpoint


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return copy_checkpoint("tied", tmp_path)


def break_off(checkpoint: Path, target: Path, options: ExportOptions | None = None) -> None:
    """Behind the tenth weight."""
    names: list[str] = []

    def stop(name: str, _done: int, _total: int) -> None:
        names.append(name)
        if len(names) == 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export_bundle(checkpoint, target, options or ExportOptions(), progress=stop)


def kept(target: Path) -> int:
    """Weights that a new export would go on behind."""
    return len(Journal(target.with_name(f"{target.name}.partial") / "journal.jsonl").hashes)


def weights_written(checkpoint: Path, target: Path) -> int:
    """By an export that is broken off at its first weight: how many it found done."""
    seen: list[str] = []

    def stop(name: str, _done: int, _total: int) -> None:
        seen.append(name)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export_bundle(checkpoint, target, progress=stop)
    return kept(target)


def test_two_exports_to_one_target_exclude_each_other(checkpoint: Path, tmp_path: Path) -> None:
    target = tmp_path / "bundle"
    partial = tmp_path / "bundle.partial"
    with workplace(target) as place:
        place.take_up("first", {})
        with pytest.raises(TargetInUse, match=r"another export to .*/bundle is running"):
            export_bundle(checkpoint, target)
        assert Journal(partial / "journal.jsonl").stamp == "first"
    export_bundle(checkpoint, target)
    assert not partial.exists()


def test_who_waited_for_a_lock_that_is_gone_does_not_begin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other export ends between the opening of its lock file and the locking of it."""
    flock = fcntl.flock

    def late(descriptor: int, operation: int) -> None:
        (tmp_path / "bundle.partial" / "lock").unlink()
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", late)
    with pytest.raises(TargetInUse), workplace(tmp_path / "bundle"):
        pass


def test_a_bundle_that_was_published_meanwhile_is_not_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flock = fcntl.flock

    def late(descriptor: int, operation: int) -> None:
        (tmp_path / "bundle").mkdir()
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", late)
    with pytest.raises(TargetExists, match="exists already"), workplace(tmp_path / "bundle"):
        pass


@pytest.mark.parametrize("kind", ["folder", "file", "link", "journal"])
def test_what_no_export_has_made_is_left_alone(checkpoint: Path, tmp_path: Path, kind: str) -> None:
    partial = tmp_path / "bundle.partial"
    photos = tmp_path / "photos" if kind == "link" else partial
    if kind == "file":
        partial.write_text("mine")
    else:
        photos.mkdir()
        (photos / ("journal.jsonl" if kind == "journal" else "photo.jpg")).write_text('{"stamp": "of something else"}')
    if kind == "link":
        partial.symlink_to(photos)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(TargetExists, match=r"bundle\.partial is in the way, and no export has made it"):
        export_bundle(checkpoint, tmp_path / "bundle")
    assert sorted(tmp_path.rglob("*")) == before


def test_what_was_killed_right_after_its_bundle_was_complete_is_cleared_up(checkpoint: Path, tmp_path: Path) -> None:
    target, partial = tmp_path / "bundle", tmp_path / "bundle.partial"
    export_bundle(checkpoint, target)
    partial.mkdir()
    Journal(partial / "journal.jsonl").start("done")
    with pytest.raises(TargetExists, match="exists already"):
        export_bundle(checkpoint, target)
    assert not partial.exists()


def edit_config(folder: Path) -> None:
    path = folder / "config.json"
    config = json.loads(path.read_text())
    config["text_config"]["rope_parameters"]["rope_theta"] = 12345.0
    path.write_text(json.dumps(config))


def change_code(_folder: Path) -> None:
    stamp_module.ROOMS = (*stamp_module.ROOMS, "check")


def nothing(_folder: Path) -> None:
    pass


@pytest.mark.parametrize(("change", "again"), [(nothing, False), (edit_config, True), (change_code, True)])
def test_an_export_goes_on_only_with_the_same_configuration_and_code(
    checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[Path], None],
    again: bool,
) -> None:
    monkeypatch.setattr(stamp_module, "ROOMS", stamp_module.ROOMS)  # put back afterwards
    target = tmp_path / "bundle"
    break_off(checkpoint, target)
    assert kept(target) == 10
    change(checkpoint)
    assert weights_written(checkpoint, target) == (1 if again else 10)


def test_an_export_goes_on_only_with_the_same_options(checkpoint: Path, tmp_path: Path) -> None:
    break_off(checkpoint, tmp_path / "bundle", ExportOptions(dataclasses.replace(PRECISIONS["int4"], vision="float32")))
    assert weights_written(checkpoint, tmp_path / "bundle") == 1


def test_a_weight_file_that_went_missing_is_written_anew(checkpoint: Path, tmp_path: Path) -> None:
    target = tmp_path / "bundle"
    break_off(checkpoint, target)
    (tmp_path / "bundle.partial" / "bundle" / "vision.data").unlink()
    assert weights_written(checkpoint, target) == 1


FULL = """
mount -t tmpfs -o size=700k none {small} 2>/dev/null || exit 77
cd {small}
{export}; echo "exit code $?"
wc -l < bundle.partial/journal.jsonl
mount -o remount,size=4m {small}
{export}; echo "exit code $?"
ls
"""
SPARE = "import sys; from pathlib import Path; from lineside.export.bundle import checks; checks.SPARE_BYTES = 0; "
EXPORT = (
    "from lineside.export.command import export_command; sys.exit(export_command(Path({}), Path('bundle'), None, {{}}))"
)


def test_a_full_disk_is_a_sentence_and_the_same_command_goes_on(checkpoint: Path, tmp_path: Path) -> None:
    """A real one, in a mount of the test's own: it holds the weights, whose room is taken first, but not the graphs."""
    small = tmp_path / "small"
    small.mkdir()
    export = shlex.join([sys.executable, "-c", SPARE + EXPORT.format(repr(str(checkpoint)))])
    command = ["unshare", "-rm", "sh", "-c", FULL.format(small=small, export=export)]
    checkout = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    found = subprocess.run(command, capture_output=True, text=True, env=checkout, check=False)
    if found.returncode == 77 or "unshare" in found.stderr:
        pytest.skip("this machine allows no mounts")
    full, said = found.stdout.splitlines(), found.stderr.splitlines()
    assert full[0] == "exit code 1"
    assert int(full[1]) > 20
    assert full[2:] == ["bundle is ready: try `lineside check bundle`", "exit code 0", "bundle"]
    sentence = "the disk of bundle.partial is full: make room and give the same command again, which goes on from there"
    assert said == [f"lineside: {sentence}"]


@pytest.mark.parametrize("target", ["/proc/nothing/bundle", "{file}/inside/bundle"])
def test_a_target_that_cannot_be_written_is_a_sentence(
    checkpoint: Path, tmp_path: Path, target: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert export_command(checkpoint, Path(target.format(file=tmp_path / "file")), None, {}) == 1
    said = capsys.readouterr().err
    assert said.startswith("lineside: ")
    assert said.count("\n") == 1


def test_control_c_says_that_the_same_command_goes_on(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: object, **__: object) -> Path:
        raise KeyboardInterrupt

    monkeypatch.setattr("lineside.export.command.export_bundle", interrupt)
    assert export_command(checkpoint, tmp_path / "bundle", None, {}) == 130
    assert capsys.readouterr().err == "lineside: broken off: the same command goes on from here\n"
