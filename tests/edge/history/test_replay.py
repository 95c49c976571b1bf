"""A result is made again to the same tokens, or what has gone or changed is said."""

from __future__ import annotations

import csv
import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from lineside.devices.cameras.frame import Frame
from lineside.edge.command_line.main import main
from lineside.edge.config import Config, ModelConfig
from lineside.edge.counters import Counters
from lineside.edge.degraded import Degraded
from lineside.edge.errors import EdgeError
from lineside.edge.frames.results import Clock, to_result
from lineside.edge.history.keeper import History
from lineside.edge.history.replay import replay
from lineside.edge.history.tables import FILE
from lineside.edge.inspect_config import InspectConfig
from lineside.edge.inspection.preparing import upright_frame
from lineside.edge.inspection.tasks import inspection_task
from lineside.edge.wire.messages import WireModel
from lineside.runtime.engine.engine import Engine
from lineside.runtime.inspection.inspector import Inspector
from lineside.runtime.inspection.preparation import Preparation
from lineside.runtime.inspection.task import InspectionTask
from lineside.runtime.inspection.verdict import Thresholds
from lineside.runtime.picture import decode_picture
from tests.support.station import THREADS, station
from tests.support.wait import LIMIT_S

ALWAYS_FAIL = Thresholds(0.0, 0.0)
"""So that there are tokens of an answer to compare."""


@pytest.fixture
def kept(
    tmp_path: Path, default_engine: Engine, pictures: list[Path], monkeypatch: pytest.MonkeyPatch
) -> tuple[Config, list[str]]:
    """Two results, of a picture as it came and of the pixels of another, made with empty caches and by a station that
    is not busy: what a cache holds, and what is cut finer so that others wait less, may be rounded otherwise.
    """
    config = station(1, tmp_path, inspect=InspectConfig(max_age_s=3600.0))
    monkeypatch.setattr(default_engine.chunking, "turn_s", float("inf"))
    inspector = Inspector(default_engine, InspectionTask(("pitting",), part="ball screw"), ALWAYS_FAIL)
    frames = [
        Frame("cam0", data=pictures[0].read_bytes(), part_id="A-1"),
        Frame("cam0", pixels=decode_picture(pictures[1].read_bytes())),
    ]
    return config, keep(config, inspector, frames)


def keep(config: Config, inspector: Inspector, frames: list[Frame]) -> list[str]:
    """The ids of their results."""
    history = History(config, "cpu", Counters(), Degraded())
    history.start()
    for frame in frames:
        picture = upright_frame(frame, inspector.task.preparation, 25_000_000)
        inspector.engine.pool.clear()
        found = inspector.inspect(picture, max_side=frame.max_side)
        result = to_result(frame, found, inspector, WireModel(name="m", sha256="0"), Clock(0.0, 0.0), 10.0)
        history.keep(frame, picture, found, result, inspector)
    assert history.flush(LIMIT_S)
    history.close()
    return [frame.id for frame in frames]


def test_the_same_tokens_come_again(kept: tuple[Config, list[str]]) -> None:
    config, ids = kept
    for result_id in ids:
        again = replay(config, result_id)
        assert again.same, again.differs
        assert (again.verdict, again.then) == ("fail", "fail")
        assert again.tokens > 5


def test_the_part_that_was_looked_at_then_is_looked_at_again(
    tmp_path: Path, default_engine: Engine, pictures: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the station file says by now; and as large as the frame itself asked for."""
    config = station(1, tmp_path, inspect=InspectConfig(max_age_s=3600.0))
    monkeypatch.setattr(default_engine.chunking, "turn_s", float("inf"))
    preparation = Preparation(180, (20, 10, 600, 240))
    task = InspectionTask(("pitting",), part="ball screw", preparation=preparation)
    inspector = Inspector(default_engine, task, ALWAYS_FAIL)
    (result_id,) = keep(config, inspector, [Frame("cam0", data=pictures[0].read_bytes(), max_side=448)])
    again = replay(config, result_id)
    assert again.same, again.differs


def change(config: Config, statement: str) -> None:
    with closing(sqlite3.connect(config.history_path / FILE)) as db, db:
        db.execute(statement)


def test_other_tokens_are_said(kept: tuple[Config, list[str]]) -> None:
    config, ids = kept
    change(config, """UPDATE verdicts SET views = replace(views, '"tokens": [', '"tokens": [7, ')""")
    assert "has other tokens" in replay(config, ids[0]).differs[0]


def test_another_machine_is_said(kept: tuple[Config, list[str]]) -> None:
    config, ids = kept
    change(config, """UPDATE setups SET body = replace(body, '"library": "onnx', '"library": "old onnx')""")
    assert "library was old onnx" in replay(config, ids[0]).changed[0]


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("UPDATE verdicts SET expired_at = 0", "to make room or for its age"),
        ("UPDATE verdicts SET frame = ''", "was not kept"),
        ("UPDATE verdicts SET frame = 'frames/none.jpg'", "cannot be read"),
        ('UPDATE verdicts SET result = replace(result, \'"frame_sha256": "\', \'"frame_sha256": "0\')', "SHA-256"),
        ('UPDATE setups SET body = replace(body, \'"sha256": "\', \'"sha256": "0\')', "--bundle"),
        ("DELETE FROM verdicts", "there is no result"),
    ],
)
def test_what_is_gone_is_said(kept: tuple[Config, list[str]], statement: str, said: str) -> None:
    config, ids = kept
    change(config, statement)
    with pytest.raises(EdgeError, match=said):
        replay(config, ids[0])


def test_history_writes_csv(kept: tuple[Config, list[str]], tmp_path: Path) -> None:
    _, ids = kept
    file = tmp_path / "station.toml"
    file.write_text("")
    assert main(["history", "-c", str(file), "--part", "A-*", "--csv", str(tmp_path / "out.csv")]) == 0
    (row,) = csv.DictReader((tmp_path / "out.csv").read_text().splitlines())
    assert (row["id"], row["part_id"], row["verdict"]) == (ids[0], "A-1", "fail")
    assert isinstance(json.loads(row["defects"]), list)
    assert main(["history", "-c", str(file), "--since", "yesterday"]) == 2


def test_other_examples_are_said(tmp_path: Path, random_bundle: Path, pictures: list[Path]) -> None:
    """With those of then the prompt is the same."""
    (tmp_path / "shown/pass").mkdir(parents=True)
    example = tmp_path / "shown/pass/a.jpg"
    example.write_bytes(pictures[2].read_bytes())
    settings = InspectConfig(examples="shown", max_age_s=3600.0)
    model = ModelConfig(str(random_bundle), threads=THREADS)
    config = station(1, tmp_path, inspect=settings, model=model)
    engine = Engine.open(random_bundle, threads=THREADS)
    inspector = Inspector(engine, inspection_task(config, "cam0"), ALWAYS_FAIL)
    frame = keep(config, inspector, [Frame("cam0", data=pictures[0].read_bytes())])[0]
    again = replay(config, frame)
    assert again.then == "fail"
    assert not [sentence for sentence in again.differs if "prompt" in sentence]
    example.write_bytes(pictures[3].read_bytes())
    with pytest.raises(EdgeError, match="the examples of cam0 are others than then"):
        replay(config, frame)
