"""The audit log as it is written, and what is found where somebody, or the power, has been at it."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from lineside.edge.audit.chain import Line, parse_line
from lineside.edge.audit.files import HEAD, files_in, read_head
from lineside.edge.audit.log import AuditLog
from lineside.edge.audit.verify import Misfit, Verified, verify
from lineside.edge.audit_config import AuditConfig
from lineside.edge.config import Config
from lineside.edge.counters import Counters
from lineside.edge.degraded import Degraded
from lineside.edge.errors import AuditError, ConfigError
from tests.conftest import ROOT

LINES = 12


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 11, 29, 6, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


def open_log(folder: Path, settings: AuditConfig | None = None, clock: Clock | None = None) -> AuditLog:
    settings = settings or AuditConfig()
    return AuditLog(folder, settings, {"station": "a"}, Counters(), Degraded(), clock or Clock())


def written(folder: Path, settings: AuditConfig | None = None, clock: Clock | None = None) -> Path:
    """A log of one start and eleven lines."""
    log = open_log(folder, settings, clock)
    for number in range(2, LINES + 1):
        log.append({"kind": "call", "call": f"c{number}", "arguments": {"text": "größer"}})
    log.close()
    return folder


def lines_of(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines(keepends=True)


def kinds(folder: Path) -> list[str]:
    return [parse_line(raw[:-1]).body["kind"] for path in files_in(folder) for raw in lines_of(path)]


def misfit(folder: Path) -> str:
    with pytest.raises(Misfit) as caught:
        verify(folder)
    return str(caught.value).removeprefix(f"{folder}/")


def test_a_log_that_nobody_touched_is_whole(tmp_path: Path) -> None:
    found = verify(written(tmp_path / "audit"))
    assert found.first is not None
    assert found.last is not None
    assert (found.lines, found.first.link.seq, found.last.link.seq, found.notes) == (LINES, 1, LINES, [])
    assert found.last.link == read_head(tmp_path / "audit")
    assert found.first.body == {"at": "2026-11-29T06:00:00.000Z", "kind": "start", "station": "a"}


def test_the_next_start_goes_on_with_the_chain(tmp_path: Path) -> None:
    folder = written(written(tmp_path / "audit"))
    assert verify(folder).lines == 2 * LINES
    assert len(files_in(folder)) == 1


Change = Callable[[list[bytes]], list[bytes]]
CHANGES: dict[str, tuple[Change, str]] = {
    "one byte": (
        lambda lines: [*lines[:4], lines[4].replace(b"c5", b"c6"), *lines[5:]],
        "000000000001.jsonl:5: its hash is not that of its content: it was changed",
    ),
    "one byte of a hash": (
        lambda lines: [*lines[:4], lines[4][:-10] + b"0" * 7 + lines[4][-3:], *lines[5:]],
        "000000000001.jsonl:5: its hash is not that of its content: it was changed",
    ),
    "a line taken out": (
        lambda lines: [*lines[:4], *lines[5:]],
        "000000000001.jsonl:5: line 5 is missing before it",
    ),
    "lines taken out": (
        lambda lines: [*lines[:4], *lines[7:]],
        "000000000001.jsonl:5: lines 5 to 7 are missing before it",
    ),
    "two lines swapped": (
        lambda lines: [*lines[:4], lines[5], lines[4], *lines[6:]],
        "000000000001.jsonl:5: line 5 is missing before it",
    ),
    "a line put in": (
        lambda lines: [*lines[:5], lines[4], *lines[5:]],
        "000000000001.jsonl:6: it is line 5, and comes after line 5",
    ),
    "an empty line put in": (
        lambda lines: [*lines[:5], b"\n", *lines[5:]],
        "000000000001.jsonl:6: it does not end with its hash",
    ),
    "the end cut off": (
        lambda lines: lines[:-1],
        "000000000001.jsonl:11: behind line 11, line 12 is missing: the head counts 12",
    ),
    "half the end cut off": (
        lambda lines: [*lines[:-3], lines[-3][:20]],
        "000000000001.jsonl:9: behind line 9, lines to 12 are missing: the head counts 12",
    ),
    "the beginning cut off": (
        lambda lines: lines[3:],
        "000000000001.jsonl:1: the file is not named by its first line, which is line 4",
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_each_change_is_found_where_it_is(tmp_path: Path, name: str) -> None:
    folder = written(tmp_path / "audit")
    change, why = CHANGES[name]
    (path,) = files_in(folder)
    path.write_bytes(b"".join(change(lines_of(path))))
    assert misfit(folder) == why


@pytest.mark.parametrize("name", [name for name in CHANGES if name.endswith("cut off")])
def test_no_start_hides_it(tmp_path: Path, name: str) -> None:
    """The station goes on with the number and the hash of its head, and says what it found."""
    folder = written(tmp_path / "audit")
    (path,) = files_in(folder)
    path.write_bytes(b"".join(CHANGES[name][0](lines_of(path))))
    degraded = Degraded()
    AuditLog(folder, AuditConfig(), {}, Counters(), degraded).close()
    assert misfit(folder)
    beginning = name == "the beginning cut off"  # which no start reads
    assert bool(degraded.sentences()) != beginning
    assert ("broken" in kinds(folder)) != beginning


def test_lines_that_somebody_chained_on_are_found(tmp_path: Path) -> None:
    folder, other = written(tmp_path / "audit"), written(tmp_path / "other")
    head = (folder / HEAD).read_bytes()
    written(folder)
    (folder / HEAD).write_bytes(head)
    assert misfit(folder) == "000000000001.jsonl:14: the head counts 12 lines: this one was not written by the station"
    (other / HEAD).unlink()
    assert "the head is missing" in misfit(other)
    open_log(other).close()
    assert "its head is missing" in misfit(other)


def test_a_file_of_the_middle_or_the_end_or_the_beginning_is_missed(tmp_path: Path) -> None:
    settings, folder = AuditConfig(file_bytes=4096), tmp_path / "audit"
    for _ in range(4):
        written(folder, settings)
    files = files_in(folder)
    assert len(files) > 2
    assert verify(folder).lines == 4 * LINES
    for path in (files[0], files[1], files[-1]):
        path.rename(tmp_path / "away")
        assert "missing" in misfit(folder)
        (tmp_path / "away").rename(path)
    assert verify(folder).lines == 4 * LINES


def test_old_files_go_and_the_chain_says_so(tmp_path: Path) -> None:
    clock, settings, folder = Clock(), AuditConfig(days=40.0, file_bytes=4096), tmp_path / "audit"
    for _ in range(6):
        written(folder, settings, clock)
        clock.now += timedelta(days=20)
    found = verify(folder)
    assert found.first is not None
    assert found.first.link.seq > LINES
    assert found.notes == [f"lines 1 to {found.first.link.seq - 1} were let go for their age or to make room"]
    oldest = datetime.fromisoformat(found.first.body["at"])
    assert clock.now - oldest <= timedelta(days=20 + 20 + 40)
    files_in(folder)[0].unlink()
    assert "no line of the log says that they were let go" in misfit(folder)


def test_a_file_is_closed_after_thirty_days(tmp_path: Path) -> None:
    clock, folder = Clock(), tmp_path / "audit"
    log = open_log(folder, clock=clock)
    clock.now += timedelta(days=31)
    log.append({"kind": "call"})
    log.close()
    assert [path.name for path in files_in(folder)] == ["000000000001.jsonl", "000000000002.jsonl"]


def test_no_more_bytes_than_it_may_have(tmp_path: Path) -> None:
    settings, folder = AuditConfig(max_bytes=1024**2, file_bytes=300_000), tmp_path / "audit"
    log = open_log(folder, settings)
    for number in range(30):
        log.append({"kind": "call", "call": str(number), "text": "x" * 100_000})
        assert sum(path.stat().st_size for path in files_in(folder)) <= 1024**2 + 110_000
    log.close()
    assert verify(folder).notes


def test_a_torn_last_line_is_mended_and_told(tmp_path: Path) -> None:
    """As a power cut leaves it: no head counts it."""
    folder = written(tmp_path / "audit")
    (path,) = files_in(folder)
    with path.open("ab") as file:
        file.write(b'{"seq":13,"at":"2026-11-2')
    notes = verify(folder).notes
    assert notes == [f"{path}:13: a line that was cut short: nothing was done on it"]
    open_log(folder).close()
    found = verify(folder)
    assert found.notes == [f"{path}:13: mended: a last line of 25 bytes was cut short"]
    assert parse_line(lines_of(path)[12][:-1]).body["cut"] == '{"seq":13,"at":"2026-11-2'
    assert kinds(folder)[-2:] == ["mended", "start"]


def test_a_file_whose_first_line_was_torn(tmp_path: Path) -> None:
    folder = written(tmp_path / "audit")
    (folder / "000000000013.jsonl").write_bytes(b'{"seq":13')
    assert verify(folder).lines == LINES
    open_log(folder).close()
    assert verify(folder).lines == LINES + 2


def test_a_line_that_the_head_does_not_count_yet(tmp_path: Path) -> None:
    """A kill between the two."""
    folder = written(tmp_path / "audit")
    head = (folder / HEAD).read_bytes()
    log = open_log(folder)
    log.close()
    (folder / HEAD).write_bytes(head)
    assert verify(folder).lines == LINES + 1
    open_log(folder).close()
    assert verify(folder) == Verified(LINES + 2, *ends(folder), [])


def ends(folder: Path) -> tuple[Line, Line]:
    lines = [parse_line(raw[:-1]) for path in files_in(folder) for raw in lines_of(path)]
    return lines[0], lines[-1]


def test_a_full_disk_adds_nothing_and_is_told_until_it_is_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, degraded = tmp_path / "audit", Degraded()
    log = AuditLog(folder, AuditConfig(), {}, Counters(), degraded)
    write = os.write

    def half(descriptor: int, data: bytes) -> int:
        if len(data) < 100:  # not ours
            return write(descriptor, data)
        write(descriptor, data[:50])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("lineside.edge.audit.log.os.write", half)
        for _ in range(2):
            with pytest.raises(AuditError, match=r"audit log in .* cannot be written \(No space left on device\)"):
                log.append({"kind": "call", "call": "lost"})
        assert degraded.sentences() == [
            f"the audit log in {folder} cannot be written (No space left on device): calls that act are refused until "
            "it can"
        ]
    log.append({"kind": "call", "call": "kept"})
    assert degraded.sentences() == []
    log.close()
    assert kinds(folder) == ["start", "call"]
    assert verify(folder).lines == 2


def test_one_station_alone_writes_there(tmp_path: Path) -> None:
    log = open_log(tmp_path / "audit")
    with pytest.raises(AuditError, match="belongs to another daemon"):
        open_log(tmp_path / "audit")
    log.close()
    with pytest.raises(AuditError, match="the station has stopped"):
        log.append({})
    open_log(tmp_path / "audit").close()


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"`audit.folder`: .* cannot be made"):
        open_log(tmp_path / "file/audit")


def test_many_threads_write_one_chain(tmp_path: Path) -> None:
    log = open_log(tmp_path / "audit", AuditConfig(file_bytes=4096))
    threads = [
        threading.Thread(target=lambda: [log.append({"kind": "call"}) for _ in range(25)], daemon=True)
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        verify(tmp_path / "audit")
    log.close()
    assert verify(tmp_path / "audit").lines == 101


def test_whatever_a_kill_leaves_is_whole(tmp_path: Path) -> None:
    """A process writes as fast as it can, and is killed in the middle of it."""
    program = (
        "import sys; from pathlib import Path; from lineside.edge.audit.log import AuditLog\n"
        "from lineside.edge.audit_config import AuditConfig; from lineside.edge.counters import Counters\n"
        "from lineside.edge.degraded import Degraded\n"
        "log = AuditLog(Path(sys.argv[1]), AuditConfig(file_bytes=4096), {}, Counters(), Degraded())\n"
        "while True: print(log.append({'kind': 'call'}).seq, flush=True)\n"
    )
    folder = tmp_path / "audit"
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(folder)],
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert process.stdout is not None
    with process.stdout as stdout:
        for _ in range(50):
            stdout.readline()
        process.send_signal(signal.SIGKILL)
        said = max(map(int, stdout.read().split()), default=50)
    process.wait()
    found = verify(folder)
    assert found.last is not None
    assert found.last.link.seq >= said, "what was said to be written is there"
    open_log(folder).close()
    assert verify(folder).lines == found.lines + 1 + len(found.notes)


def test_it_lies_beside_the_database(tmp_path: Path) -> None:
    assert Config(folder=tmp_path).audit_path == tmp_path / "lineside.audit"
    assert Config(folder=tmp_path, audit=AuditConfig(folder="kept")).audit_path == tmp_path / "kept"
