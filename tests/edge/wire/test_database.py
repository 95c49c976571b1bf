"""Files that cannot be used as they are: each has a sentence of its own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lineside.edge.degraded import Degraded
from lineside.edge.errors import StoreError
from lineside.edge.wire.store import Outgoing, Store

SAYS_SO = """
import sys, time
from pathlib import Path
from lineside.edge.wire.store import Store
store = Store(Path(sys.argv[1]), 100)
print("open", flush=True)
time.sleep(600)
"""
READ_ONLY = """
import os, sys
from pathlib import Path
from lineside.edge.errors import StoreError
from lineside.edge.wire.store import Store
if os.getuid() == 0:
    os.setresuid(65534, 65534, 65534)
try:
    Store(Path(sys.argv[1]), 100)
except StoreError as error:
    print(error)
"""


def message(text: str) -> Outgoing:
    return Outgoing("t", text.encode(), "text/plain")


def waiting(store: Store) -> list[bytes]:
    return [message.payload for message in store.pending(0, 10_000)]


def test_one_daemon_alone_has_it(tmp_path: Path) -> None:
    """The second is told which process the first is; a kill of the first leaves nothing in the way."""
    path = tmp_path / "s.db"
    first = subprocess.Popen([sys.executable, "-c", SAYS_SO, str(path)], stdout=subprocess.PIPE, text=True)
    try:
        assert first.stdout is not None
        assert first.stdout.readline() == "open\n"
        with pytest.raises(StoreError) as caught:
            Store(path, 100)
    finally:
        first.send_signal(signal.SIGKILL)
        first.communicate()
    assert str(caught.value) == (
        f"{path} belongs to another daemon that runs (process {first.pid}): stop that one, or give this one a "
        "`[store] path` of its own"
    )
    Store(path, 100).close()


def test_a_store_that_was_refused_or_closed_holds_no_lock(tmp_path: Path) -> None:
    first = Store(tmp_path / "s.db", 100)
    with pytest.raises(StoreError, match=rf"process {os.getpid()}"):
        Store(tmp_path / "s.db", 100)
    first.close()
    Store(tmp_path / "s.db", 100).close()


@pytest.mark.parametrize("what", ["folder", "file"])
def test_what_cannot_be_written_is_named(tmp_path: Path, what: str) -> None:
    """By a process without a superuser's rights."""
    folder = tmp_path / "readable"
    folder.mkdir()
    path = folder / "s.db"
    if what == "file":
        Store(path, 100).close()
    for parent in (tmp_path, *tmp_path.parents[:2]):
        parent.chmod(0o755)
    for child in folder.iterdir():
        child.chmod(0o444)
    folder.chmod(0o555)
    try:
        done = subprocess.run([sys.executable, "-c", READ_ONLY, str(path)], capture_output=True, text=True, check=True)
    finally:
        folder.chmod(0o755)
    assert done.stdout.strip() == (
        f"{path.parent} cannot be written (Permission denied): the database belongs there; change the folder's rights, "
        "`[station] data` or `[store] path`"
    )


def test_a_file_in_a_folders_place_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="file cannot be written"):
        Store(tmp_path / "file" / "s.db", 10)


def fill(path: Path, size: int = 1000) -> None:
    store = Store(path, 10_000)
    for number in range(200):
        store.enqueue(message(f"{number} " + "x" * size))
    store.close()


def damage(path: Path, how: str) -> bytes:
    data = path.read_bytes()
    damaged = {
        "no database": b"not a database, and long enough to be looked at" * 100,
        "zeros": data[:20_000] + bytes(40_000) + data[60_000:],
        "cut short": data[: len(data) // 2],
        "nothing left": data[:4096] + bytes(len(data) - 4096),
    }[how]
    path.write_bytes(damaged)
    return damaged


@pytest.mark.parametrize("how", ["no database", "zeros", "cut short"])
def test_a_damaged_file_is_set_aside_and_a_new_one_begun(tmp_path: Path, how: str) -> None:
    path, degraded = tmp_path / "s.db", Degraded()
    fill(path)
    damaged = damage(path, how)
    store = Store(path, 100, degraded=degraded)
    assert waiting(store) == []
    store.enqueue(message("after"))
    assert (waiting(store), store.outbox_size()) == ([b"after"], 1)
    store.close()
    (aside,) = [file for file in tmp_path.iterdir() if re.fullmatch(r"s\.db\.damaged-\d{8}T\d{6}Z", file.name)]
    assert aside.read_bytes() == damaged
    (sentence,) = degraded.sentences()
    assert aside.name in sentence
    assert "what waited to be sent" in sentence


def test_damage_that_is_found_while_it_runs(tmp_path: Path) -> None:
    """That message is refused, which keeps it in memory; the next goes into a new file."""
    path, degraded = tmp_path / "s.db", Degraded()
    fill(path, size=20_000)  # more than SQLite keeps in its memory
    store = Store(path, 10_000, degraded=degraded)
    damage(path, "nothing left")
    with pytest.raises(StoreError, match="was damaged"):
        waiting(store)
    store.enqueue(message("after"))
    assert (waiting(store), store.outbox_size()) == ([b"after"], 1)
    assert len(degraded.sentences()) == 1
    store.close()


def test_a_message_costs_the_same_however_many_wait(tmp_path: Path) -> None:
    """By what SQLite does, not by the clock: its steps, and no counting, which is one step that reads everything."""
    store = Store(tmp_path / "s.db", 100_000)
    store._database._db.execute("PRAGMA synchronous=OFF")
    steps: list[int] = []
    count = 0

    def step() -> int:
        nonlocal count
        count += 1
        return 0

    statements: set[str] = set()
    store.outbox_size()
    store._database._db.set_progress_handler(step, 10)
    store._database._db.set_trace_callback(statements.add)
    for number in range(4000):
        before = count
        store.enqueue(Outgoing("t", b"x", "text/plain", None, time.time() + 1000 if number % 2 else None))
        store.pending(number, 10)
        store.outbox_size()
        steps.append(count - before)
    store.close()
    assert max(steps[-100:]) <= max(steps[:100]) + 5
    assert not [statement for statement in statements if "COUNT(" in statement]
