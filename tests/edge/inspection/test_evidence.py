"""The picture that is drawn for people."""

from __future__ import annotations

import numpy as np

from lineside.edge.inspection.evidence import BANNER_PX, draw, encode_jpeg
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
