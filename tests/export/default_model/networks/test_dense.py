"""Which tokens a defect covers."""

from __future__ import annotations

import numpy as np

from lineside.export.default_model.data import ballscrew, pcb
from lineside.export.default_model.networks.dense import CELLS, by_token, cell_map, token_boxes, token_shares
from lineside.runtime.inspection.verdict import Defect


def test_each_token_knows_its_defects() -> None:
    picture = np.zeros((192, 192, 3), np.uint8)
    example = ballscrew.Example("x", "p", picture, (Defect("short", (52.0, 4.0, 76.0, 28.0)),))
    maps = by_token(cell_map(example, (192, 192), pcb.TYPES))
    boxes = token_boxes(example, (192, 192))
    assert maps.shape == (16, CELLS * 6)
    short = maps.reshape(16, CELLS, 6)[..., pcb.TYPES.index("short")]
    assert set(np.flatnonzero(short.any(1))) == {1}, "the second token of the first row"
    np.testing.assert_array_equal(short[1].reshape(3, 3), [[1, 1, 0], [1, 1, 0], [0, 0, 0]])
    np.testing.assert_allclose(boxes[1] * 48 + 24, [4, 4, 28, 28])
    assert np.isnan(np.delete(boxes, 1, 0)).all()


def test_each_defect_is_looked_for_where_it_is() -> None:
    picture = np.zeros((96, 192, 3), np.uint8)
    large, small, inside = (40.0, 10.0, 100.0, 40.0), (100.0, 60.0, 110.0, 80.0), (60.0, 20.0, 66.0, 24.0)
    defects = tuple(Defect("pitting", box) for box in (large, small, inside))
    shares = token_shares(ballscrew.Example("x", "p", picture, defects), (192, 96))
    np.testing.assert_allclose(shares[0], np.asarray([8, 48, 4, 0, 0, 0, 0, 0]) / 60, rtol=1e-6)
    np.testing.assert_allclose(shares[1], [0, 0, 0, 0, 0, 0, 1, 0])
    np.testing.assert_allclose(shares[2], [0, 1, 0, 0, 0, 0, 0, 0], err_msg="though the large one covers more of it")
    assert token_shares(ballscrew.Example("x", "p", picture, ()), (192, 96)).shape == (0, 8)
