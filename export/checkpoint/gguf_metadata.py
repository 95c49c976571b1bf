"""Open a GGUF file, and read its keys so that none is passed over."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gguf import GGUFReader

from lineside.export.errors import MissingPart, Unsupported

GGUF_MAGIC = b"GGUF"
LFS = b"version https://git-lfs"


class Metadata:
    """The keys and tensors of a file.

    Args:
        prefix: of the keys that describe the network; `close` refuses those of them that nobody read.

    Raises:
        MissingPart: the file is missing, cut off, a pointer to what Git LFS keeps elsewhere, or no GGUF at all.
        Unsupported: it is a part of a model in several files.
    """

    def __init__(self, path: Path) -> None:
        self.path, self._read = path, set[str]()
        try:
            with path.open("rb") as file:
                head = file.read(len(LFS))
            if head == LFS:
                raise MissingPart(f"{path} is a Git LFS pointer, not the file itself: run `git lfs pull` there")
            if head[:4] != GGUF_MAGIC:
                raise MissingPart(f"{path} is not a GGUF file: give a checkpoint's folder, or a .gguf file")
            self._reader: Any = GGUFReader(path)
        except FileNotFoundError as error:
            raise MissingPart(f"{path} is missing") from error
        except (ValueError, IndexError, KeyError, OSError, OverflowError) as error:
            raise MissingPart(f"{path} is damaged or cut off ({str(error)[:200]}): fetch it again") from error
        self.tensors: list[Any] = self._reader.tensors
        self.architecture = str(self.get("general.architecture", "none"))
        if self.get("split.count", 1) > 1:
            raise Unsupported(f"{path} is one of several files: put them together with llama-gguf-split --merge")

    def __contains__(self, key: str) -> bool:
        return self._reader.get_field(key) is not None

    def get(self, key: str, default: Any = None) -> Any:
        """Raises MissingPart where the key is missing and has no default."""
        self._read.add(key)
        field = self._reader.get_field(key)
        if field is None:
            if default is None:
                raise MissingPart(f"{self.path}: the key {key} is missing")
            return default
        return field.contents()

    def number(self, key: str, default: float | None = None) -> float:
        """Above 0; raises Unsupported."""
        found = self.get(key, default)
        if isinstance(found, bool) or not isinstance(found, int | float) or not 0 < found < float("inf"):
            raise Unsupported(f"{self.path}: {key} = {found!r} is not a number above 0")
        return float(found)

    def whole(self, key: str, default: int | None = None) -> int:
        found = self.number(key, default)
        if found != int(found):
            raise Unsupported(f"{self.path}: {key} = {found!r} is not a whole number")
        return int(found)

    def require(self, key: str, supported: object) -> None:
        """Raises Unsupported where the key is there and says something else."""
        if (found := self.get(key, supported)) != supported:
            raise Unsupported(f"{self.path}: {key} = {found} is not supported; supported: {supported}")

    def close(self, prefix: str, ignored: frozenset[str] = frozenset()) -> None:
        """Raise Unsupported for a key of the network that nobody read."""
        for key in self._reader.fields:
            if key.startswith(prefix) and key not in self._read and key.removeprefix(prefix) not in ignored:
                raise Unsupported(f"{self.path}: the key {key} is not known to Lineside, which passes nothing over")
