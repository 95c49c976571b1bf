"""Exports that are killed at moments drawn by lot, each of which goes on with the same command.

    python -m tests.support.killed_exports FOLDER KILLS SEED

prints a line of JSON: the hash of the undisturbed bundle, and of each that was killed. A moment is a call, of Python or
of C, that the code which writes to the disk makes; the kernel's SIGKILL comes right before it. KILLS are drawn for each
module that writes, first the functions, then a moment of each: most moments are of one loop, and would be drawn again
and again. Exports run in processes forked from this one, which has imported everything and started no thread.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from types import FrameType

from lineside.export.bundle import journal, stamp, workplace, writer
from lineside.export.errors import TargetExists
from lineside.export.graph import weights
from tests.support.checkpoints import copy_checkpoint

WATCHED = {str(module.__file__) for module in (journal, stamp, workplace, writer, weights)}


@dataclass(frozen=True)
class Moment:
    """The `number`-th of an export, counted from 1, in a function of a module."""

    number: int
    module: str
    function: str


def export(checkpoint: Path, target: Path, kill_at: int = 0) -> int:
    """Exit code of an export in a process of its own, which is killed at the moment of that number."""
    if (pid := os.fork()) == 0:
        numbers = count(1)

        def kill(_frame: FrameType) -> None:
            if next(numbers) == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

        code = 1
        try:
            with suppress(TargetExists):  # it was killed after it was complete
                _watched(checkpoint, target, kill if kill_at else None)
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def moments(checkpoint: Path, target: Path) -> list[Moment]:
    """Of an undisturbed export."""
    read, write = os.pipe()
    if (pid := os.fork()) == 0:
        code, names = 1, []
        try:
            _watched(checkpoint, target, lambda frame: names.append((frame.f_code.co_filename, frame.f_code.co_name)))
            with os.fdopen(write, "w") as pipe:
                json.dump(names, pipe)
            code = 0
        finally:
            os._exit(code)
    os.close(write)
    with os.fdopen(read) as pipe:
        found = [Moment(number, *name) for number, name in enumerate(json.load(pipe), 1)]
    os.waitpid(pid, 0)
    return found


def _watched(checkpoint: Path, target: Path, at: Callable[[FrameType], None] | None) -> None:
    """An export that calls `at` at each moment."""

    def watch(frame: FrameType, event: str, _argument: object) -> None:
        if at is not None and event in ("call", "c_call") and frame.f_code.co_filename in WATCHED:
            at(frame)

    sys.setprofile(watch if at is not None else None)
    try:
        writer.export_bundle(checkpoint, target)
    finally:
        sys.setprofile(None)


def draw(found: list[Moment], kills: int, seed: int) -> list[Moment]:
    """`kills` moments of each module, of as many of its functions."""
    lot, drawn = random.Random(seed), []
    for module in sorted(WATCHED):
        functions = sorted({moment.function for moment in found if moment.module == module})
        for function in lot.sample(functions, kills):
            drawn.append(lot.choice([one for one in found if (one.module, one.function) == (module, function)]))
    return drawn


def bundle_hash(target: Path) -> str:
    """`bundle.json` has the hashes of all else."""
    return hashlib.sha256((target / "bundle.json").read_bytes()).hexdigest()


def main(folder: Path, kills: int, seed: int) -> None:
    checkpoint = copy_checkpoint("tied", folder)
    target = folder / "undisturbed" / "bundle"
    drawn = draw(moments(checkpoint, target), kills, seed)
    undisturbed, found = bundle_hash(target), []
    for moment in drawn:
        target = folder / str(moment.number) / "bundle"
        killed, resumed = export(checkpoint, target, moment.number), export(checkpoint, target)
        left = sorted(path.name for path in target.parent.iterdir())
        found.append([Path(moment.module).name, moment.function, killed, resumed, left, bundle_hash(target)])
    sys.stdout.write(json.dumps({"undisturbed": undisturbed, "killed": found}) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
