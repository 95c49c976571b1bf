"""Reads the pictures of `[inspect] examples`: folders `pass/` and `fail/`, and a line of text beside a picture."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from lineside.edge.config import Config
from lineside.edge.errors import ConfigError
from lineside.edge.inspection.preparing import upright_picture
from lineside.runtime.errors import PictureError
from lineside.runtime.inspection.examples import MOST_EXAMPLES, with_examples
from lineside.runtime.inspection.inspector import BEGIN_TOKENS, LEAST_ANSWER_TOKENS
from lineside.runtime.inspection.preparation import Preparation
from lineside.runtime.inspection.reasoning import most_reasoning_tokens
from lineside.runtime.inspection.task import Example, InspectionTask
from lineside.runtime.manifest import Manifest
from lineside.runtime.picture_kinds import SUFFIXES

if TYPE_CHECKING:
    from lineside.runtime.text.tokenizer import Tokenizer

LONGEST_LINE = 500
Label = Literal["pass", "fail"]
FOLDERS: tuple[Label, ...] = ("pass", "fail")


def examples_key(config: Config, camera: str) -> str:
    """The key that names a camera's examples."""
    return f"cameras.{camera}.examples" if config.cameras[camera].examples else "inspect.examples"


def read_examples(folder: Path, key: str, preparation: Preparation, max_pixels: int) -> tuple[Example, ...]:
    """Made ready as frames are: in turn a good one and a defective one, in the order of their names.

    Raises:
        ConfigError: no pictures or too many, one that cannot be read, or a text that is no line beside one.
    """
    try:
        found = {name: _pictures(folder / name, key) for name in FOLDERS}
        count = sum(map(len, found.values()))
        if not count:
            raise ConfigError(f"`{key}`: {folder} has no pictures: put a few into `pass` and into `fail` there")
        if count > MOST_EXAMPLES:
            there = f"{folder} has {count} pictures in `pass` and `fail`"
            raise ConfigError(f"`{key}`: {there}; at most {MOST_EXAMPLES} are shown")
        turns = sorted((turn, name != "pass", path, name) for name in FOLDERS for turn, path in enumerate(found[name]))
        return tuple(_example(path, name, key, preparation, max_pixels) for _, _, path, name in turns)
    except OSError as error:
        raise ConfigError(f"`{key}`: {error.filename or folder} cannot be read ({error.strerror})") from error


def check_examples(key: str, task: InspectionTask, tokenizer: Tokenizer, manifest: Manifest, capacity: int) -> int:
    """Tokens of what is shown before each frame; 0 where a task has no examples.

    Args:
        key: that names the examples.
        capacity: tokens that a prompt and its answer may have.

    Raises:
        ConfigError: they leave no room for a frame of their own size and its answer, or the model takes text only.
    """
    if not task.examples:
        return 0
    if manifest.image is None:
        raise ConfigError(f"`{key}`: the model {manifest.name} takes text only: take the key out")
    asked = replace(task, template=task.template or manifest.inspection, report=None)
    prefix, frame = with_examples(tokenizer, asked)
    answer = BEGIN_TOKENS + LEAST_ANSWER_TOKENS + most_reasoning_tokens(asked)
    if len(prefix.ids) + frame + answer > capacity:
        raise ConfigError(
            f"`{key}`: the {len(task.examples)} examples take {len(prefix.ids)} tokens, a frame of their size {frame} "
            f"and its answer {answer}, and `model.capacity` is {capacity}: show fewer or smaller ones, or raise it (at "
            f"most {manifest.context_length})"
        )
    return len(prefix.ids)


def _pictures(folder: Path, key: str) -> list[Path]:
    if not folder.is_dir():
        return []
    there = sorted(folder.iterdir())
    pictures = [path for path in there if path.suffix.lower() in SUFFIXES]
    names = {path.stem for path in pictures}
    for path in there:
        if path.suffix.lower() == ".txt" and path.stem not in names:
            raise ConfigError(f"`{key}`: {path} belongs to no picture: {path.stem}.jpg or .png is not beside it")
    return pictures


def _example(path: Path, verdict: Label, key: str, preparation: Preparation, max_pixels: int) -> Example:
    try:
        picture = preparation.part(upright_picture(path.read_bytes(), preparation, max_pixels))
    except PictureError as error:
        raise ConfigError(f"`{key}`: {path}: {error}") from error
    beside = path.with_suffix(".txt")
    try:
        text = beside.read_text(encoding="utf-8-sig").strip() if beside.is_file() else ""
    except UnicodeDecodeError as error:
        raise ConfigError(f"`{key}`: {beside} is not UTF-8 ({error})") from error
    if len(text.splitlines()) > 1 or len(text) > LONGEST_LINE:
        raise ConfigError(f"`{key}`: {beside} is more than one line of {LONGEST_LINE} characters")
    return Example(picture, verdict, text)
