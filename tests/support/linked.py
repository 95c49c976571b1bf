"""An environment that has a wheel and what its metadata ask for, and nothing else of the environment of the tests."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

NAME = "lineside"


def link_environment(wheel: Path, extras: set[str], folder: Path) -> Path:
    """Make a fresh environment in `folder` and install the wheel there; returns its folder of programs.

    What the wheel and its `extras` require is linked, file by file, to where it is installed already: nothing has to be
    fetched. AssertionError where it cannot be installed, PackageNotFoundError where something is not there.
    """
    run(sys.executable, "-m", "venv", "--without-pip", folder)
    python = folder / "bin" / "python"
    install = ("install", "-q", "--no-deps", "--no-index", "--no-compile", wheel)
    run(sys.executable, "-m", "pip", "--python", python, *install)
    packages = folder / Path(sysconfig.get_path("purelib")).relative_to(sys.prefix)
    (own,) = Distribution.discover(name=NAME, path=[str(packages)])
    for found in _required(own, extras):
        here = str(found.locate_file(""))
        files = {str(file) for file in found.files or () if ".." not in file.parts}  # not the programs beside it
        for inner in {os.path.dirname(file) for file in files}:
            os.makedirs(packages / inner, exist_ok=True)
        for file in files:
            os.symlink(os.path.join(here, file), os.path.join(packages, file))
    return folder / "bin"


def run(*command: object) -> None:
    """AssertionError with what the command said where it fails."""
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


def _required(own: Distribution, extras: set[str]) -> list[Distribution]:
    """What has to be beside a distribution, as its metadata say, and those of what is required."""
    found: dict[str, Distribution] = {NAME: own}
    asked: set[tuple[str, str]] = set()
    waiting = [(NAME, extra) for extra in ("", *extras)]
    while waiting:
        if (wanted := waiting.pop()) in asked:
            continue
        asked.add(wanted)
        name, extra = wanted
        for line in found[name].requires or ():
            required = Requirement(line)
            if required.marker is None or required.marker.evaluate({"extra": extra}):
                key = canonicalize_name(required.name)
                found.setdefault(key, distribution(key) if key != NAME else own)
                assert required.specifier.contains(found[key].version, prereleases=True), line
                waiting += [(key, each) for each in ("", *required.extras)]
    return [each for key, each in found.items() if key != NAME]
