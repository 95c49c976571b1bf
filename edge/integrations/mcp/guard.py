"""Starts an MCP server so that it ends with the station, and no message of it is longer than the station takes.

Run as a program, of its own and without Lineside: `python -I -S guard.py STATION_PID LIMIT_BYTES COMMAND...`. The
server has our standard input; what it writes comes through here. It and all that it started, its process group, are
killed when the station has died, however it died; when the server closes its output; and when a message is too long.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from contextlib import suppress

PR_SET_PDEATHSIG = 1
CHUNK_BYTES = 64 * 1024


def end_all(*_signal: object) -> None:
    os.killpg(0, signal.SIGKILL)  # us too


def end_with(parent: int) -> None:
    """Linux tells us when the thread that started us is gone; elsewhere the closed standard input has to do."""
    signal.signal(signal.SIGHUP, end_all)
    signal.signal(signal.SIGTERM, lambda *_: None)  # the server gets it as well, and time to end by itself
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGHUP)
        if os.getppid() != parent:
            end_all()


def pass_on(source: int, target: int, limit_bytes: int) -> None:
    """Until the end. A message is a line."""
    length = 0
    while chunk := os.read(source, CHUNK_BYTES):
        first, *others = chunk.split(b"\n")
        length = len(others[-1]) if others else length + len(first)
        if length > limit_bytes:
            write_all(target, chunk[: chunk.rfind(b"\n") + 1])  # what came whole before it
            sys.stderr.write(f"mcp: a message has more than {limit_bytes} bytes: the server is ended\n")
            return
        write_all(target, chunk)


def write_all(target: int, data: bytes) -> None:
    while data:
        data = data[os.write(target, data) :]


def main() -> None:
    parent, limit_bytes, command = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    end_with(parent)
    try:
        server = subprocess.Popen(command, stdout=subprocess.PIPE)
    except OSError as error:
        sys.stderr.write(f"mcp: {command[0]} cannot be started ({error.strerror})\n")
        sys.exit(127)
    if server.stdout is not None:
        with suppress(OSError):  # the station does not read any more
            pass_on(server.stdout.fileno(), 1, limit_bytes)
    end_all()


if __name__ == "__main__":
    main()
