"""What a hub says of a model's files, kept beside the download."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path

from lineside.export.errors import TargetExists
from lineside.export.pull.wanted import Wanted

CHUNK_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True)
class HubFile:
    """`sha256` of a large file; of a small one the `git_sha1` of git's blob."""

    name: str
    size: int
    sha256: str
    git_sha1: str

    def is_whole(self, path: Path) -> bool:
        """Whether the file at `path` is this one; reads it."""
        if path.stat().st_size != self.size:
            return False
        digest = (
            hashlib.sha256() if self.sha256 else hashlib.sha1(f"blob {self.size}\0".encode(), usedforsecurity=False)
        )
        with path.open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                digest.update(chunk)
        return digest.hexdigest() == (self.sha256 or self.git_sha1)


@dataclass
class Listing:
    """The needed files of a model at a commit, and those that lie here and were checked.

    The same pull that was broken off goes on with the same commit, whatever the branch has become meanwhile.
    """

    wanted: Wanted
    commit: str
    files: list[HubFile]
    checked: list[str] = field(default_factory=list)

    @property
    def missing_bytes(self) -> int:
        return sum(file.size for file in self.files if file.name not in self.checked)

    def save(self, path: Path) -> None:
        """The file is there whole, or as it was."""
        new = path.with_suffix(".new")
        with new.open("w", encoding="utf-8") as file:
            json.dump(asdict(self), file)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)


def read_listing(folder: Path, path: Path, wanted: Wanted) -> Listing | None:
    """Of an earlier pull of the same model into `folder`; None where there was none.

    Raises TargetExists where the folder is another's.
    """
    if not folder.exists() or (folder.is_dir() and not any(item for item in folder.iterdir() if item.suffix != ".new")):
        return None
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        found = Listing(
            Wanted(**stored["wanted"]),
            str(stored["commit"]),
            [HubFile(**file) for file in stored["files"]],
            [str(name) for name in stored["checked"]],
        )
    except (OSError, ValueError, LookupError, TypeError):
        raise TargetExists(
            f"{folder} is in the way, and no pull has made it: move it, or name another bundle"
        ) from None
    if found.wanted != wanted:
        raise TargetExists(
            f"{folder} is what a pull of {found.wanted.repo} has left: remove it, or name another bundle"
        )
    return found
