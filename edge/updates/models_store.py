"""The bundles that were installed at a station."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lineside.edge.current_model import BUNDLES, Current, read_current, write_current
from lineside.edge.errors import UpdateError
from lineside.edge.lasting import replace_file, sync_folder
from lineside.edge.updates.disk import writing

STAGING, UNDER_WAY = "staging", "under-way"


class ModelsStore:
    """A folder such as `lineside.models`; it is made when something is installed.

    Args:
        named: `model.bundle` of the station file, in whose place an installed bundle runs.
    """

    def __init__(self, folder: Path, named: str) -> None:
        self.folder, self.named = folder, named

    @contextmanager
    def locked(self) -> Iterator[None]:
        """One installation at a time. Raises UpdateError where another is under way, of this or another process."""
        with writing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise UpdateError("busy", "another model is being installed: wait for its end") from None
            yield
        finally:
            os.close(descriptor)

    def current(self) -> Current:
        """Raises ConfigError where its file cannot be used."""
        current = read_current(self.folder)
        return current if current.instead_of == self.named else Current(instead_of=self.named)

    def bundle(self, sha256: str) -> Path:
        """Where it is, or would be."""
        return self.folder / BUNDLES / sha256

    def installed(self) -> list[str]:
        """Every bundle that is here and whole, by its hash."""
        folder = self.folder / BUNDLES
        return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []

    def staging(self, sha256: str) -> Path:
        """The folder in which this bundle is put together; what is left of others goes. Raises UpdateError."""
        folder = self.folder / STAGING
        with writing(self.folder):
            (folder / sha256).mkdir(parents=True, exist_ok=True)
            for other in folder.iterdir():
                if other.name != sha256:
                    shutil.rmtree(other)
        return folder / sha256

    def place(self, sha256: str) -> Path:
        """Move a bundle that is whole from where it was put together; a damaged one makes room. Raises UpdateError."""
        staged, target = self.folder / STAGING / sha256, self.bundle(sha256)
        with writing(self.folder):
            target.parent.mkdir(exist_ok=True)
            if target.exists():
                os.rename(target, self.folder / STAGING / "damaged")
            os.rename(staged, target)
            sync_folder(target.parent)
            sync_folder(self.folder)
        return target

    def remove(self, sha256: str) -> None:
        """A bundle that is neither the current nor the former one. Raises ConfigError, UpdateError."""
        current = self.current()
        with writing(self.folder):
            if sha256 in self.installed() and sha256 not in (current.bundle, current.former):
                shutil.rmtree(self.bundle(sha256))

    def begin(self, sha256: str) -> None:
        """Note which bundle is about to take the place of the current one. Raises UpdateError."""
        with writing(self.folder):
            replace_file(self.folder / UNDER_WAY, sha256.encode())

    def end(self) -> None:
        """It has, or it was refused. Raises UpdateError."""
        with writing(self.folder):
            (self.folder / UNDER_WAY).unlink(missing_ok=True)

    def interrupted(self) -> str:
        """The bundle of an installation that did not come to its end; empty where there is none."""
        try:
            return (self.folder / UNDER_WAY).read_text()
        except OSError:
            return ""

    def make_current(self, sha256: str) -> None:
        """The one that ran becomes the former one; those before it go. Raises ConfigError, UpdateError."""
        before = self.current()
        former = before.former if before.bundle == sha256 else before.bundle
        self._write(Current(sha256, former, self.named))
        with writing(self.folder):
            for gone in set(self.installed()) - {sha256, former}:
                shutil.rmtree(self.bundle(gone))

    def roll_back(self) -> Current:
        """The former bundle runs, and the one that ran is the former one. Raises ConfigError, UpdateError."""
        before = self.current()
        if before.former is None:
            raise UpdateError("no_former", "no model was installed here before: there is none to go back to")
        if before.former and not self.bundle(before.former).is_dir():
            raise UpdateError("no_former", f"{self.bundle(before.former)} is gone: install a model anew")
        after = Current(before.former, before.bundle, self.named)
        self._write(after)
        return after

    def _write(self, current: Current) -> None:
        with writing(self.folder):
            write_current(self.folder, current)
