"""What both models read, in passes, and what the first of them made of it, on disk until the second has read it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt

from lineside.edge.errors import EdgeError
from lineside.runtime.sessions.interface import MAX_DECODE_TOKENS
from lineside.runtime.text.tokenizer import Tokenizer

WINDOW = 2048
"""A longer text is read in parts of so many tokens, each from its own beginning."""
GB = 1e9


@dataclass(frozen=True)
class Pass:
    """Token ids that are read at once behind `past` others, and those that really follow each of them, `(T,)`."""

    ids: tuple[int, ...]
    past: int
    following: npt.NDArray[np.int64]


def read_text(path: Path) -> str:
    """Raises EdgeError."""
    try:
        text = path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise EdgeError(f"--text: {path} cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise EdgeError(f"--text: {path} is not text in UTF-8 ({error})") from error
    if not text:
        raise EdgeError(f"--text: {path} is empty: name a file with a few hundred words or more")
    return text


def passes(text: str, tokenizer: Tokenizer, window: int) -> list[Pass]:
    """The text, behind a begin token, in parts of at most `window` tokens."""
    tokens = tokenizer.encode_text(text)
    made = []
    for start in range(0, len(tokens), window):
        following = tokens[start : start + window]
        ids = [tokenizer.bos_id, *following[:-1].tolist()]
        for past in range(0, len(ids), MAX_DECODE_TOKENS):
            end = past + MAX_DECODE_TOKENS
            made.append(Pass(tuple(ids[past:end]), past, following[past:end]))
    return made


class StoredLogits:
    """Logits in float32, written once in the order of the passes and read in the same."""

    def __init__(self, file: IO[bytes], vocab_size: int) -> None:
        self._file, self._vocab_size = file, vocab_size

    def write(self, logits: npt.NDArray[np.float32]) -> None:
        """Raises EdgeError where the disk is full."""
        try:
            self._file.write(np.ascontiguousarray(logits, np.float32).data)
        except OSError as error:
            raise _no_room(f"a temporary file cannot be written ({error.strerror})") from error

    def rewind(self) -> None:
        self._file.seek(0)

    def read(self, rows: int) -> npt.NDArray[np.float32]:
        """The next `(rows, vocab)`."""
        data = self._file.read(rows * self._vocab_size * 4)
        return np.frombuffer(data, np.float32).reshape(rows, self._vocab_size)


@contextmanager
def stored_logits(tokens: int, vocab_size: int) -> Iterator[StoredLogits]:
    """In a file that nobody else sees and that ends with the block. Raises EdgeError where there is no room for it."""
    needed, free = tokens * vocab_size * 4, shutil.disk_usage(tempfile.gettempdir()).free
    if needed > free:
        raise _no_room(f"A's logits take {needed / GB:.2f} GB, {free / GB:.2f} GB are free")
    with tempfile.TemporaryFile() as file:
        yield StoredLogits(file, vocab_size)


def _no_room(why: str) -> EdgeError:
    advice = "name a folder with more room in the environment variable TMPDIR, or take a shorter --text"
    return EdgeError(f"{tempfile.gettempdir()}: {why}: {advice}")
