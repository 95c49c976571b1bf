"""Commands about what a station has done: history, replay, audit. What is heavy is loaded when its command runs."""

from __future__ import annotations

import argparse
import csv
import json
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TextIO

from lineside.edge.command_line.fail import fail

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lineside.edge.history.records import Record

COLUMNS = (
    "captured_at",
    "camera",
    "part_id",
    "verdict",
    "confidence",
    "decided_by",
    "defects",
    "id",
    "name",
    "model",
    "frame",
    "evidence",
)


def history(options: argparse.Namespace) -> int:
    from lineside.edge.history.records import Query
    from lineside.edge.history.tables import reading, search
    from lineside.edge.station_file import load_config

    try:
        since, until = _time(options.since), _time(options.until)
    except ValueError as error:
        return fail(f"--since and --until take a time such as 2026-11-29 or 2026-11-29T06:00:00+01:00 ({error})", 2)
    query = Query(options.camera, options.part, tuple(options.verdict), since, until, limit=options.limit)
    config = load_config(options.config)
    with reading(config.history_path) as db:
        records = search(db, query)
        if options.csv is None:
            for record in records:
                print("  ".join([*_row(record)[:6], record.id]))
            return 0
        if str(options.csv) == "-":
            _write_csv(records, sys.stdout)
            return 0
        try:
            with options.csv.open("w", newline="", encoding="utf-8") as file:
                _write_csv(records, file)
        except OSError as error:
            return fail(f"{options.csv} cannot be written ({error.strerror})", 1)
    return 0


def replay(options: argparse.Namespace) -> int:
    from lineside.edge.history.replay import replay
    from lineside.edge.station_file import load_config

    told = replay(load_config(options.config), options.id, options.bundle)
    for sentence in told.changed:
        print(f"changed: {sentence}")
    for sentence in told.differs:
        print(f"differs: {sentence}")
    if told.same:
        print(f"ok: {told.verdict} again, and the same {told.tokens} tokens")
    return int(not told.same)


def audit(options: argparse.Namespace) -> int:
    from lineside.edge.audit.verify import verify
    from lineside.edge.station_file import load_config

    found = verify(load_config(options.config).audit_path)
    for note in found.notes:
        print(f"note: {note}")
    if found.first is None or found.last is None:
        print("ok: no line yet")
        return 0
    first, last = (f"{line.link.seq} ({line.body['at']})" for line in (found.first, found.last))
    print(f"ok: {found.lines} lines, {first} to {last}; the last has the hash {found.last.link.hash}")
    return 0


def _time(text: str) -> datetime | None:
    """In UTC where no zone is given."""
    if not text:
        return None
    time = datetime.fromisoformat(text)
    return time if time.tzinfo is not None else time.replace(tzinfo=UTC)


def _row(record: Record) -> list[str]:
    body = record.body
    there = record.expired_at is None
    return [
        body["captured_at"],
        record.camera,
        record.part_id,
        record.verdict,
        f"{record.confidence:.4f}",
        record.decided_by,
        json.dumps(body["defects"], ensure_ascii=False),
        record.id,
        record.name,
        body["model"]["sha256"],
        record.frame if there else "",
        record.evidence if there else "",
    ]


def _write_csv(records: Iterable[Record], file: TextIO) -> None:
    """A text that a spreadsheet would take for a formula gets an apostrophe before it."""
    writer = csv.writer(file)
    writer.writerow(COLUMNS)
    for record in records:
        writer.writerow([f"'{cell}" if cell[:1] in ("=", "+", "-", "@") else cell for cell in _row(record)])
