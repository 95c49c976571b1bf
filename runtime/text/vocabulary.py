"""A tokenizer that is made when a text first asks for it, and what an answer of token ids needs to know of it."""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from lineside.runtime.errors import BundleDamaged, BundleFormat

if TYPE_CHECKING:
    from lineside.runtime.bundle import Bundle
    from lineside.runtime.text.tokenizer import Tokenizer

TEKKEN = "tekken.json"
END, USUAL_END_ID = "</s>", 2
"""The end token, and its id in files that name no special tokens."""


class TokenizerLater:
    """Importing mistral-common takes longer than loading a small model.

    Args:
        path: a `tekken.json`.
        sha256: what the file must hash to when it is read, however long after its bundle was opened.
    """

    def __init__(self, path: Path, sha256: str = "") -> None:
        self.path, self._sha256 = path, sha256
        self._making: Future[Tokenizer] | None = None
        self._lock = threading.Lock()

    @classmethod
    def of(cls, bundle: Bundle) -> TokenizerLater:
        entry = bundle.manifest.files.get(TEKKEN)
        return cls(bundle.file(TEKKEN), entry.sha256 if entry else "")

    def begin(self) -> None:
        """Make it on a thread of its own, where that has not begun: beside what leaves the interpreter free."""
        with self._lock:
            if self._making is None:
                pool = ThreadPoolExecutor(1, "tokenizer")
                self._making = pool.submit(_make, self.path, self._sha256)
                pool.shutdown(wait=False)

    def made(self) -> Tokenizer:
        """Waits for it. Raises BundleFormat where the file is not a Tekken tokenizer, BundleDamaged where it is
        another one than when the bundle was opened.
        """
        self.begin()
        assert self._making is not None
        return self._making.result()

    def numbers(self) -> tuple[int, int]:
        """`Tokenizer.vocab_size` and `eos_id`, without waiting for one. Raises BundleFormat."""
        making = self._making
        if making is not None and making.done():
            return making.result().vocab_size, making.result().eos_id
        return self._numbers

    @cached_property
    def _numbers(self) -> tuple[int, int]:
        return read_vocabulary(self.path)


def read_vocabulary(path: Path) -> tuple[int, int]:
    """How many tokens a `tekken.json` has, and the id of the end token. Raises BundleFormat."""
    from pydantic import TypeAdapter, ValidationError

    try:
        file = TypeAdapter(_File).validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error.strerror
        raise BundleFormat(f"{path}: not a Tekken tokenizer file ({reason})") from error
    if file.special_tokens is None:
        return file.config.default_vocab_size, USUAL_END_ID
    ends = [token.rank for token in file.special_tokens if token.token_str == END]
    if not ends:
        raise BundleFormat(f"{path}: not a Tekken tokenizer file (it has no token {END})")
    return file.config.default_vocab_size, ends[0]


def _make(path: Path, sha256: str) -> Tokenizer:
    from lineside.runtime.bundle import file_sha256
    from lineside.runtime.text.tokenizer import Tokenizer

    if sha256 and path.is_file() and file_sha256(path) != sha256:
        raise BundleDamaged(f"{path} is another file than when the bundle was opened: open it again")
    return Tokenizer(path)


@dataclass(frozen=True)
class _Config:
    default_vocab_size: int


@dataclass(frozen=True)
class _Special:
    rank: int
    token_str: str


@dataclass(frozen=True)
class _File:
    config: _Config
    special_tokens: list[_Special] | None = None
