"""A command under strace: what it connects to and what it writes, with an empty home folder."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import ROOT
from tests.support.station import LINESIDE

CALLS = "connect,sendto,sendmsg,sendmmsg,openat,open,creat,mkdir,mkdirat,rename,renameat,renameat2"
INTERNET = re.compile(r'\d+ +(?:connect|sendto|sendmsg|sendmmsg)\(.*sin6?_port=htons\((\d+)\).*?"([^"]+)"')
LOOK_UP = re.compile(r"\d+ +connect\(.*nscd")
OPENED = re.compile(r'\d+ +open(?:at)?\([^"]*"([^"]+)", \S*O_(?:WRONLY|RDWR|CREAT)')
MADE = re.compile(r'\d+ +(?:creat|mkdir|rename)\w*\([^"]*"([^"]+)"')
BLAMELESS = ("/dev/null", "/dev/tty", "/proc/self/")
NAME_SERVER = 53


@dataclass(frozen=True)
class Watched:
    """Addresses with their ports, whether a name was looked up, absolute paths of what was written."""

    code: int
    output: str
    addresses: set[tuple[str, int]]
    looked_up: bool
    written: set[Path]
    home: list[Path]


class Watch:
    """`lineside ARGUMENTS` under strace. `folder` is for its home and temporary folders and the trace."""

    def __init__(self, folder: Path, *arguments: object) -> None:
        program = shutil.which("strace")
        assert program, "strace is missing: run `make test`, which installs it"
        self._home, self._trace = folder / "home", folder / "trace"
        for made in (self._home, folder / "tmp"):
            made.mkdir()
        variables = {"HOME": str(self._home), "TMPDIR": str(folder / "tmp"), "PYTHONDONTWRITEBYTECODE": "1"}
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("XDG_", "MPL", "ORT_", "HF_", "LINESIDE_"))
        }
        strace = (program, "-f", "-qq", "-s", "200", "-e", f"trace={CALLS}", "-o", str(self._trace))
        self.process = subprocess.Popen(
            [*strace, *LINESIDE, *map(str, arguments)],
            env=kept | variables | {"PYTHONPATH": str(ROOT)},
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._folder = folder

    def terminate(self) -> None:
        """SIGTERM to what strace watches."""
        (child,) = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        os.kill(int(child), signal.SIGTERM)

    def end(self) -> Watched:
        output, _ = self.process.communicate(timeout=100)
        trace = self._trace.read_text(errors="replace").splitlines()
        reached = {(found[2], int(found[1])) for line in trace if (found := INTERNET.match(line))}
        written = {found[1] for line in trace if (found := OPENED.match(line) or MADE.match(line))}
        return Watched(
            self.process.returncode,
            output,
            {address for address in reached if address[1] != NAME_SERVER},
            any(LOOK_UP.match(line) for line in trace) or any(port == NAME_SERVER for _, port in reached),
            {Path(os.path.normpath(self._folder / path)) for path in written if not path.startswith(BLAMELESS)},
            list(self._home.rglob("*")),
        )
