"""Labelled pictures of a station: folders `pass/` and `fail/`, or a `labels.jsonl`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from lineside.edge.errors import ConfigError
from lineside.runtime.picture_kinds import SUFFIXES

LABELS = "labels.jsonl"


@dataclass(frozen=True)
class Labelled:
    """A picture on disk, and whether it shows a defect."""

    path: Path
    defective: bool


def find_labelled(folder: Path) -> list[Labelled]:
    """All labelled pictures, in the order of their names or lines.

    Raises:
        ConfigError: no such folder, no labels in it, a line of another shape, or a picture that is not there.
    """
    labels = folder / LABELS
    try:
        if not folder.is_dir():
            raise ConfigError(f"{folder} is not a folder")
        found = _from_lines(labels) if labels.is_file() else _from_folders(folder)
    except OSError as error:
        raise ConfigError(f"{error.filename or folder} cannot be read ({error.strerror})") from error
    if not found:
        raise ConfigError(f"{folder} has no labelled pictures: put them into pass/ and fail/, or write a {LABELS}")
    return found


def _from_folders(folder: Path) -> list[Labelled]:
    return [
        Labelled(path, name == "fail")
        for name in ("pass", "fail")
        if (folder / name).is_dir()
        for path in sorted((folder / name).iterdir())
        if path.suffix.lower() in SUFFIXES
    ]


def _from_lines(labels: Path) -> list[Labelled]:
    """Lines such as `{"image": "images/1.jpg", "verdict": "fail"}`; other keys are passed over."""
    found = []
    try:
        lines = labels.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ConfigError(f"{labels} cannot be read ({error})") from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            item = json.loads(line)
            image, verdict = str(item["image"]), item["verdict"]
        except (ValueError, KeyError, TypeError, RecursionError):
            raise ConfigError(f'{labels}:{number}: not a line such as {{"image": ..., "verdict": "pass"}}') from None
        if verdict not in ("pass", "fail"):
            raise ConfigError(f"{labels}:{number}: the verdict is pass or fail, not {verdict!r}")
        if not (labels.parent / image).is_file():
            raise ConfigError(f"{labels}:{number}: there is no picture {image}")
        found.append(Labelled(labels.parent / image, verdict == "fail"))
    return found
