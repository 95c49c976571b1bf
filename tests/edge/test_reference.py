"""The references in docs/ are what the code makes."""

from __future__ import annotations

from dataclasses import fields

import pytest

from lineside.edge import reference
from lineside.edge.config import Config
from lineside.edge.station_file import OURS
from tests.conftest import ROOT

FOLDER = ROOT / "docs" / "reference"


@pytest.mark.parametrize(
    ("name", "made"),
    [("station.md", reference.station_reference), ("command-line.md", reference.command_line_reference)],
)
def test_the_files_are_what_the_code_makes(name: str, made: object) -> None:
    assert callable(made)
    assert (FOLDER / name).read_text(encoding="utf-8") == made(), (
        "run `python -m lineside.edge.reference docs/reference`"
    )


def test_every_table_of_a_station_file_is_described() -> None:
    tables = {table.strip("[").split(".")[0] for table, _ in reference.TABLES}
    assert tables == {field.name for field in fields(Config)} - set(OURS)
