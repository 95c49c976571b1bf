"""Reads a TOML file into a dataclass, and says what is wrong in it: file, line, key and what belongs there."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from lineside.edge.errors import ConfigError
from lineside.edge.file_schema import FileSchema
from lineside.edge.mistakes import read_mistakes, texts_in, veiled
from lineside.edge.toml_lines import key_lines, place

T = TypeVar("T")
MOST_TOLD = 10


def read_toml(path: Path, kind: type[T]) -> T:
    """Raises ConfigError with a line for each mistake, at most `MOST_TOLD`; OSError where there is no such file."""
    adapter = TypeAdapter(kind)
    try:
        text = path.read_text(encoding="utf-8-sig")
        data = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not TOML: {error}") from error
    try:
        return adapter.validate_python(data)
    except ValidationError as error:
        told, lines = read_mistakes(error, FileSchema(adapter), data)[:MOST_TOLD], key_lines(text)
        texts = list(texts_in(data))
        sentences = [f"{place(path, lines, each.key)}: {veiled(each.sentence, texts)}" for each in told]
        raise ConfigError("\n".join(sentences)) from None
