"""Verdicts are kept with their frames, never overwritten, and the oldest go first."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import json
import threading
from pathlib import Path

import numpy as np
import pytest

from lineside.devices.cameras.frame import Frame
from lineside.edge.config import Config
from lineside.edge.counters import Counters
from lineside.edge.degraded import Degraded
from lineside.edge.errors import EdgeError
from lineside.edge.frames.part import Part
from lineside.edge.frames.results import Clock, to_result
from lineside.edge.frames.verdicts import combined
from lineside.edge.history import keeper as keeper_module
from lineside.edge.history import pictures
from lineside.edge.history.keeper import History, Kept
from lineside.edge.history.records import Query
from lineside.edge.history.replay import replay
from lineside.edge.history.tables import reading, search
from lineside.edge.history_config import HistoryConfig
from lineside.edge.page.pictures import kept_picture
from lineside.edge.wire.messages import InspectionResult, WireModel
from lineside.runtime.engine.engine import Engine
from lineside.runtime.inspection.inspector import Inspector
from lineside.runtime.inspection.observation import Inspection
from lineside.runtime.inspection.task import InspectionTask
from lineside.runtime.picture import decode_picture
from lineside.runtime.timings import Counts, Timings
from tests.support.station import station
from tests.support.wait import LIMIT_S

PICTURE = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
PASSED = Inspection("pass", 1.0, 0.0, (), "stop", Timings(), Counts())
MIB = 1024**2


def opened(folder: Path, counters: Counters | None = None, **history: object) -> History:
    config: Config = station(1, folder, history=HistoryConfig(min_free_bytes=0, **history))  # type: ignore[arg-type]
    kept = History(config, "cpu", counters or Counters(), Degraded())
    kept.start()
    return kept


@pytest.fixture(scope="module")
def inspector(default_engine: Engine) -> Inspector:
    return Inspector(default_engine, InspectionTask(("pitting",)))


def keep(history: History, inspector: Inspector, frame: Frame) -> InspectionResult:
    result = to_result(frame, PASSED, inspector, WireModel(name="m", sha256="0"), Clock(0.0, 0.0), 10.0)
    history.keep(frame, PICTURE, PASSED, result, inspector)
    assert history.flush(LIMIT_S)
    return result


def test_a_frame_lies_there_as_it_came(tmp_path: Path, inspector: Inspector) -> None:
    history = opened(tmp_path)
    result = keep(history, inspector, Frame("cam0", data=b"\xff\xd8jpeg", part_id="A/17"))
    record = history.find(result.id)
    assert record is not None
    assert (history.folder / record.frame).read_bytes() == b"\xff\xd8jpeg"
    assert (record.verdict, record.part_id, record.frame_kind) == ("pass", "A/17", "came")
    assert record.body == json.loads(result.encode())
    name = Path(record.evidence).name
    assert name.startswith(result.captured_at.strftime("%Y%m%dT%H%M%S."))
    assert name.endswith(f"_cam0_A-17_pass_{result.id}.jpg")
    setup = history.setup(record)
    assert setup is not None
    assert json.loads(setup.body)["bundle"]["sha256"] == inspector.engine.bundle.sha256
    history.close()


def test_the_pixels_of_a_video_lose_nothing(tmp_path: Path, inspector: Inspector) -> None:
    """Frames of two films that have the same number stand side by side."""
    history = opened(tmp_path)
    results = [keep(history, inspector, Frame("cam0", pixels=PICTURE, name="000001")) for _ in range(2)]
    for result in results:
        record = history.find(result.id)
        assert record is not None
        pixels = decode_picture((history.folder / record.frame).read_bytes())
        assert hashlib.sha256(pixels.tobytes()).hexdigest() == result.frame_sha256
    assert len(list((tmp_path / "evidence").iterdir())) == 2
    history.close()


def test_the_first_verdict_of_a_frame_stands(tmp_path: Path, inspector: Inspector) -> None:
    history = opened(tmp_path)
    frame = Frame("cam0", data=b"first")
    result = keep(history, inspector, frame)
    keep(history, inspector, dataclasses.replace(frame, data=b"other"))
    (record,) = history.search(Query())
    assert (history.folder / record.frame).read_bytes() == b"first"
    assert record.id == result.id
    history.close()


def test_the_oldest_pictures_go_and_their_verdicts_stay(tmp_path: Path, inspector: Inspector) -> None:
    counters = Counters()
    history = opened(tmp_path, counters, max_bytes=MIB)
    frames = [Frame("cam0", data=bytes(9 * 1024)) for _ in range(150)]
    for frame in frames:
        keep(history, inspector, frame)
    records = [history.find(frame.id) for frame in frames]
    there = [bool(record and record.frame_bytes) for record in records]
    assert there == sorted(there)
    assert not there[0]
    assert there[-1]
    assert all(records)
    assert records[0] is not None
    assert records[0].expired_at is not None
    assert not (history.folder / records[0].frame).exists()
    on_disk = [path for folder in ("history/frames", "evidence") for path in (tmp_path / folder).rglob("*.jpg")]
    assert sum(path.stat().st_size for path in on_disk) < MIB
    assert counters.snapshot()["history_expired"] == there.count(False)
    history.close()


def test_a_full_disk_costs_the_oldest(tmp_path: Path, inspector: Inspector, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that holds three frames: the newest is kept, and nothing is said to be lost."""
    counters, write = Counters(), pictures.write_new

    def on_a_small_disk(path: Path, data: bytes) -> None:
        if len(list((tmp_path / "history").rglob("*.jpg"))) >= 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(path, data)

    monkeypatch.setattr(pictures, "write_new", on_a_small_disk)
    monkeypatch.setattr("lineside.edge.history.retention.AT_ONCE", 1)
    history = opened(tmp_path, counters)
    frames = [Frame("cam0", data=b"x") for _ in range(5)]
    for frame in frames:
        keep(history, inspector, frame)
    records = [history.find(frame.id) for frame in frames]
    assert [bool(record and record.frame_bytes) for record in records][-1]
    assert records[0] is not None
    assert not records[0].frame_bytes
    assert "history_lost" not in counters.snapshot()
    history.close()


def test_no_frame_waits_for_a_disk_that_hangs(
    tmp_path: Path, inspector: Inspector, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy, go, write = threading.Event(), threading.Event(), pictures.write_new

    def hanging(path: Path, data: bytes) -> None:
        busy.set()
        assert go.wait(LIMIT_S)
        write(path, data)

    monkeypatch.setattr(pictures, "write_new", hanging)
    monkeypatch.setattr(keeper_module, "WAITING", 2)
    counters = Counters()
    history = opened(tmp_path, counters)
    for number in range(5):
        frame = Frame("cam0", data=b"x")
        result = to_result(frame, PASSED, inspector, WireModel(name="m", sha256="0"), Clock(0.0, 0.0), 10.0)
        history.keep(frame, PICTURE, PASSED, result, inspector)
        if not number:
            assert busy.wait(LIMIT_S)
    assert counters.snapshot()["history_lost"] == 2
    go.set()
    history.close()


def test_a_search_finds_by_part_camera_and_verdict(tmp_path: Path, inspector: Inspector) -> None:
    history = opened(tmp_path)
    for camera, part in (("cam0", "A-1"), ("cam1", "A-2"), ("cam1", "B-1")):
        keep(history, inspector, Frame(camera, data=b"x", part_id=part))
    with reading(history.folder) as db:  # beside the daemon that writes
        parts = {
            key: [record.part_id for record in search(db, query)]
            for key, query in {
                "camera": Query(camera="cam1"),
                "part": Query(part="A-*"),
                "verdict": Query(verdicts=("fail",)),
                "oldest": Query(newest_first=False, limit=1),
            }.items()
        }
    assert parts == {"camera": ["B-1", "A-2"], "part": ["A-2", "A-1"], "verdict": [], "oldest": ["A-1"]}
    history.close()


def test_a_part_is_kept_with_its_views(tmp_path: Path, inspector: Inspector) -> None:
    """Each view with its picture, so that people can say what they see; the part with the pictures of all."""
    history = opened(tmp_path)
    seen = []
    for camera in ("top", "side"):
        frame = Frame(camera, pixels=PICTURE, part_id="A")
        result = to_result(frame, PASSED, inspector, WireModel(name="m", sha256="0"), Clock(0.0, 0.0), 10.0)
        seen.append(Kept(frame, PICTURE, PASSED, result, inspector))
    part = Part("eye", part_id="A", views=tuple(kept.frame for kept in seen))
    views = [kept.result for kept in seen]
    names = [history.evidence_name(view) for view in views]
    whole = combined(part, views, [], views[0].model, names, (0.0, 0.0), 10.0)
    history.keep_part(whole, seen)
    assert history.flush(LIMIT_S)
    records = {record.camera: record for record in history.search(Query(part="A"))}
    assert records.keys() == {"eye", "top", "side"}
    assert [Path(records[camera].evidence).name for camera in ("top", "side")] == names
    assert all((history.folder / records[camera].frame).is_file() for camera in ("top", "side"))
    shown = kept_picture(history, records["eye"], small=False)
    assert shown is not None
    assert decode_picture(shown).shape == (64, 128, 3)
    with pytest.raises(EdgeError, match=rf"replay them one by one, {views[0].id} \(top\), {views[1].id} \(side\)"):
        replay(station(1, tmp_path), whole.id)
    history.close()
