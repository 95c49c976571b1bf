"""The history of a station: every verdict with its frame and what it was made with, kept beside the frame's way.

The pipeline hands in and goes on; a thread writes. Where the disk is too slow, what would have to wait for it is not
kept, and that is counted and said: no frame ever waits for the history.
"""

from __future__ import annotations

import json
import logging
import threading
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import cv2

from lineside.devices.cameras.frame import Frame
from lineside.edge.config import Config, Device
from lineside.edge.counters import Counters
from lineside.edge.degraded import Degraded
from lineside.edge.errors import ConfigError, StoreError
from lineside.edge.history import pictures
from lineside.edge.history.records import Query, Record, Setup
from lineside.edge.history.retention import Retention
from lineside.edge.history.setups import AnyInspector, Setups, views_of
from lineside.edge.history.tables import FILE, HISTORY, find, insert, reviewed, reviews_of, search, setup_of
from lineside.edge.inspection.evidence import draw, encode_jpeg
from lineside.edge.steady import unix_time
from lineside.edge.wire.database import Database
from lineside.edge.wire.messages import InspectionResult, Verdict
from lineside.runtime.chat import Picture
from lineside.runtime.cores import usable_cores
from lineside.runtime.inspection.observation import Inspection

log = logging.getLogger("lineside.history")
WAITING, WAITING_BYTES = 256, 128 * 1024 * 1024
"""Verdicts that wait to be written, with their pictures."""
CLOSING_S = 10.0
NO_SETUP = Setup("", "{}")
ENFORCE_EVERY_S = 60.0
"""Ages are looked at so often where nothing is written."""


@dataclass(frozen=True)
class Kept:
    """A frame that was looked at, decoded, with what came out and who looked."""

    frame: Frame
    picture: Picture
    inspection: Inspection
    result: InspectionResult
    inspector: AnyInspector


@dataclass(frozen=True)
class Seen:
    """A result on the way to the disk, with the frame that it was made from; that of a part has its views' ones."""

    kept: Kept | None
    result: InspectionResult
    views: str
    setup: Setup

    @property
    def size(self) -> int:
        return 0 if self.kept is None else self.kept.picture.nbytes + len(self.kept.frame.data or b"")


class History:
    """Keeps and finds verdicts.

    Args:
        device: what the model that looks at frames runs on.

    Attributes:
        folder: where they are.

    Raises:
        ConfigError: a folder cannot be made. StoreError: its database cannot be used.
    """

    def __init__(self, config: Config, device: Device, counters: Counters, degraded: Degraded) -> None:
        self._settings, self._counters, self._degraded = config.history, counters, degraded
        self.folder = _made(config.history_path, "history.folder")
        evidence = config.evidence_path
        self._evidence = _made(evidence, "inspect.evidence_folder").absolute() if evidence else None
        self._threads = config.model.threads or usable_cores()
        self._setups = Setups(device, self._threads)
        self._retention = Retention(config.history, self.folder)
        self._database = Database(self.folder / FILE, lambda sentence: degraded.set("history", sentence), HISTORY)
        self._condition = threading.Condition()
        self._waiting: deque[Seen] = deque()
        self._bytes, self._closed, self._writing = 0, False, False
        self._thread = threading.Thread(target=self._run, name="history", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """What waits is still written."""
        with self._condition:
            if self._closed:
                return
            self._closed = True
            self._condition.notify_all()
        if self._thread.is_alive():
            self._thread.join(timeout=CLOSING_S)
        self._database.close()

    def keep(
        self,
        frame: Frame,
        picture: Picture,
        inspection: Inspection,
        result: InspectionResult,
        inspector: AnyInspector,
    ) -> None:
        """On the pipeline's thread; at once. `picture` is what `frame` shows, decoded."""
        kept, setup = Kept(frame, picture, inspection, result, inspector), self._setups.of(frame.camera, inspector)
        self._put(Seen(kept, result, json.dumps(views_of(inspection)), setup))

    def keep_part(self, result: InspectionResult, seen: Sequence[Kept]) -> None:
        """The verdict of a part, and that of each view with its picture. What the part's own was made with is in those
        of its views.
        """
        self._put(Seen(None, result, "[]", NO_SETUP))
        for kept in seen:
            self.keep(kept.frame, kept.picture, kept.inspection, kept.result, kept.inspector)

    def evidence_name(self, result: InspectionResult) -> str | None:
        """What the drawn picture of a result is called; None where none is kept."""
        return pictures.file_name(result, ".jpg", verdict=True) if self._evidence is not None else None

    def _put(self, seen: Seen) -> None:
        with self._condition:
            full = len(self._waiting) >= WAITING or self._bytes + seen.size > WAITING_BYTES
            if not full or not self._waiting:
                self._waiting.append(seen)
                self._bytes += seen.size
                self._condition.notify_all()
                return
        self._lose("the disk is too slow")

    def exchange(self, device: Device) -> None:
        """Another model looks at frames from now on, on this device."""
        self._setups = Setups(device, self._threads)

    def flush(self, timeout_s: float) -> bool:
        """Wait until what was handed in is on the disk."""
        with self._condition:
            return self._condition.wait_for(lambda: not (self._waiting or self._writing), timeout_s)

    # What others ask, from any thread

    def find(self, result_id: str) -> Record | None:
        with self._database.transaction(lambda: None, lasting=False) as db:
            return find(db, result_id)

    def setup(self, record: Record) -> Setup | None:
        with self._database.transaction(lambda: None, lasting=False) as db:
            return setup_of(db, record.setup)

    def search(self, query: Query) -> list[Record]:
        with self._database.transaction(lambda: None, lasting=False) as db:
            return list(search(db, query))

    def review(self, result_id: str, verdict: Verdict, by: str) -> None:
        """File a person's verdict beside the station's own; the latest counts."""
        with self._database.transaction(lambda: None) as db:
            db.execute(
                "INSERT INTO reviews (id, verdict, by, at) VALUES (?, ?, ?, ?)", (result_id, verdict, by, unix_time())
            )

    def reviews_of(self, ids: Sequence[str]) -> dict[str, Verdict]:
        """What people said last of those results that they said something of."""
        with self._database.transaction(lambda: None, lasting=False) as db:
            return reviews_of(db, ids)

    def reviewed(self, camera: str, verdict: Verdict, most: int) -> list[Record]:
        """The newest pictures of a camera that are still there, and of which people said `verdict` last."""
        with self._database.transaction(lambda: None, lasting=False) as db:
            return list(reviewed(db, camera, verdict, most))

    # On the history's thread

    def _run(self) -> None:
        self._enforce()
        while True:
            with self._condition:
                self._condition.wait_for(lambda: self._waiting or self._closed, ENFORCE_EVERY_S)
                some, self._waiting, self._bytes = list(self._waiting), deque(), 0
                self._writing = bool(some)
                if not some and self._closed:
                    return
            for seen in some:
                self._write_guarded(seen)
            self._enforce()
            with self._condition:
                self._writing = False
                self._condition.notify_all()

    def _write_guarded(self, seen: Seen) -> None:
        try:
            self._write(seen)
        except (OSError, ValueError, StoreError, cv2.error) as error:
            self._lose(str(error))
        else:
            self._degraded.clear("history lost")

    def _lose(self, why: str) -> None:
        self._counters.add("history_lost")
        log.error("a verdict is not kept: %s", why)
        self._degraded.set("history lost", f"verdicts are not kept in the history: {why}")

    def _write(self, seen: Seen) -> None:
        """Pictures first: a row that names a frame has it."""
        if self.find(seen.result.id) is not None:
            return  # the frame was delivered again: the first verdict stands
        record = _record(seen)
        try:
            record = self._write_frame(seen, record)
            record = self._write_evidence(seen, record)
            with self._database.transaction(self._retention.forget) as db:
                insert(db, record, seen.setup)
            self._retention.added(record.frame_bytes + record.evidence_bytes + record.row_bytes)
        except BaseException:
            for path in (self.folder / record.frame, Path(record.evidence)):
                with suppress(OSError):  # the one that is not there is a folder
                    path.unlink()
            raise
        self._counters.add("history_kept")

    def _write_frame(self, seen: Seen, record: Record) -> Record:
        if seen.kept is None or seen.result.verdict not in self._settings.frames:
            return record
        data, suffix, kind = pictures.frame_bytes(seen.kept.frame)
        path = pictures.frame_file(seen.result, suffix)
        self._write_picture(self.folder / path, data)
        return replace(record, frame=path, frame_kind=kind, frame_bytes=len(data))

    def _write_evidence(self, seen: Seen, record: Record) -> Record:
        """A picture that cannot be drawn costs that picture."""
        if self._evidence is None or seen.kept is None:
            return record
        try:
            drawn = encode_jpeg(draw(seen.kept.picture, seen.kept.inspection))
        except (ValueError, cv2.error) as error:
            self._counters.add("evidence_errors")
            log.error("no evidence picture of %s: %s", seen.result.name, error)
            return record
        path = self._evidence / pictures.file_name(seen.result, ".jpg", verdict=True)
        self._write_picture(path, drawn)
        return replace(record, evidence=str(path), evidence_bytes=len(drawn))

    def _write_picture(self, path: Path, data: bytes) -> None:
        """Where the disk is full the oldest pictures go. A file that nobody wrote down is of a start that was cut
        short.
        """
        for _ in range(2):
            try:
                pictures.write_new(path, data)
                return
            except FileExistsError:
                path.unlink()
            except OSError as error:
                if not (pictures.is_full(error) and self._make_room(len(data))):
                    raise
        pictures.write_new(path, data)

    def _make_room(self, size: int) -> bool:
        with self._database.transaction(self._retention.forget) as db:
            return self._retention.make_room(db, size)

    def _enforce(self) -> None:
        try:
            with self._database.transaction(self._retention.forget, lasting=False) as db:
                gone = self._retention.enforce(db)
        except (OSError, StoreError) as error:
            self._lose(str(error))
            return
        if gone:
            self._counters.add("history_expired", gone)


def _record(seen: Seen) -> Record:
    result = seen.result
    return Record(
        id=result.id,
        camera=result.camera,
        name=result.name,
        part_id=result.part_id,
        captured_at=result.captured_at.timestamp(),
        kept_at=unix_time(),
        verdict=result.verdict,
        decided_by=result.decided_by,
        confidence=result.confidence,
        result=result.encode().decode(),
        views=seen.views,
        setup=seen.setup.digest,
    )


def _made(folder: Path, key: str) -> Path:
    """Raises ConfigError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"`{key}`: {folder} cannot be made ({error.strerror})") from error
    return folder
