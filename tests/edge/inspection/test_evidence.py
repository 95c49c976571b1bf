"""The picture that is drawn for people."""

from __future__ import annotations

import numpy as np

from lineside.edge.inspection.evidence import BANNER_PX, absent, beside, draw, encode_jpeg
from lineside.runtime.inspection.observation import Inspection
from lineside.runtime.inspection.verdict import Defect
from lineside.runtime.picture import decode_picture
from lineside.runtime.timings import Counts, Timings


def test_evidence_shows_the_boxes() -> None:
    picture = np.full((80, 120, 3), 30, np.uint8)
    inspection = Inspection(
        "fail", 0.9, 0.9, (Defect("pitting", (20.0, 30.0, 60.0, 70.0)),), "stop", Timings(), Counts()
    )
    drawn = draw(picture, inspection)
    assert drawn.shape == (80 + BANNER_PX, 120, 3)
    red = (drawn[BANNER_PX:, :, 0] > 150) & (drawn[BANNER_PX:, :, 1] < 100)
    rows, columns = np.nonzero(red)
    assert abs(columns.max() - 60) <= 2
    assert abs(rows.max() - 70) <= 2
    assert (picture == 30).all()
    assert decode_picture(encode_jpeg(drawn)).shape == drawn.shape


def test_pictures_of_a_part_stand_beside_each_other() -> None:
    one, other = np.full((80, 120, 3), 30, np.uint8), np.full((40, 60, 3), 200, np.uint8)
    both = beside([one, other])
    assert both.shape == (80, 180, 3)
    assert (both[:, :120] == 30).all()
    assert (both[:40, 120:] == 200).all()
    assert not both[40:, 120:].any()
    assert beside([one]) is one
    assert absent("side").shape[2] == 3
