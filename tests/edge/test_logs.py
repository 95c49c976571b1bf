"""What the log's lines look like."""

from __future__ import annotations

import json
import logging
import os
import subprocess

import pytest

from lineside.edge.logs import JsonFormatter, TextFormatter
from tests.support.station import LINESIDE

RECORD = logging.makeLogRecord({"name": "lineside.x", "levelname": "INFO", "msg": "%d°", "args": (5,), "created": 0.25})


def test_times_are_rfc_3339_in_utc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    entry = json.loads(JsonFormatter().format(RECORD))
    assert entry == {"ts": "1970-01-01T00:00:00.250Z", "level": "INFO", "logger": "lineside.x", "message": "5°"}
    assert TextFormatter("%(asctime)s %(message)s").format(RECORD) == "1970-01-01T00:00:00.250Z 5°"


def test_the_command_line_chooses_form_and_level() -> None:
    program = "from lineside.edge import logs; import logging; logs.set_up('ERROR', 'text'); log = logging.getLogger()"
    said = subprocess.run(
        [LINESIDE[0], "-c", f"{program}; log.warning('no'); log.error('yes')"],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"ORT_DISABLE_TELEMETRY": "1"},
    ).stderr
    assert said.endswith("ERROR   yes\n")
    assert "no\n" not in said
