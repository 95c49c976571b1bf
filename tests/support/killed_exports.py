"""Exports that are killed at moments drawn by lot, each of which goes on with the same command.

    python -m tests.support.killed_exports FOLDER KILLS SEED

prints a line of JSON: the hash of the undisturbed bundle, and of each that was killed. A moment is a call, of Python or
of C, that the code which writes to the disk makes; the kernel's SIGKILL comes right before it. Exports run in processes
forked from this one, which has imported everything and started no thread.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import sys
from contextlib import suppress
from pathlib import Path
from types import FrameType

from lineside.export.bundle import journal, stamp, workplace, writer
from lineside.export.errors import TargetExists
from lineside.export.graph import weights
from tests.support.checkpoints import copy_checkpoint

WATCHED = {module.__file__ for module in (journal, stamp, workplace, writer, weights)}


def export(checkpoint: Path, target: Path, kill_at: int = 0) -> tuple[int, int]:
    """Exit code of an export in a process of its own, and how many moments it had."""
    read, write = os.pipe()
    if (pid := os.fork()) == 0:
        moments = 0

        def count(frame: FrameType, event: str, _argument: object) -> None:
            nonlocal moments
            if event in ("call", "c_call") and frame.f_code.co_filename in WATCHED:
                moments += 1
                if moments == kill_at:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.setprofile(count)
        code = 1
        try:
            with suppress(TargetExists):  # it was killed after it was complete
                writer.export_bundle(checkpoint, target)
            code = 0
        finally:
            sys.setprofile(None)
            os.write(write, str(moments).encode())
            os._exit(code)
    os.close(write)
    with os.fdopen(read) as pipe:
        moments_text = pipe.read()
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), int(moments_text or 0)


def bundle_hash(target: Path) -> str:
    """`bundle.json` has the hashes of all else."""
    return hashlib.sha256((target / "bundle.json").read_bytes()).hexdigest()


def main(folder: Path, kills: int, seed: int) -> None:
    checkpoint = copy_checkpoint("tied", folder)
    target = folder / "undisturbed" / "bundle"
    code, moments = export(checkpoint, target)
    hashes, codes = [], []
    undisturbed = bundle_hash(target)
    for number, moment in enumerate(random.Random(seed).sample(range(1, moments + 1), kills)):
        target = folder / str(number) / "bundle"
        killed = export(checkpoint, target, moment)[0]
        resumed = export(checkpoint, target)[0]
        left = sorted(path.name for path in target.parent.iterdir())
        codes.append([moment, killed, resumed, left])
        hashes.append(bundle_hash(target))
    sys.stdout.write(json.dumps({"code": code, "undisturbed": undisturbed, "killed": hashes, "codes": codes}) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
