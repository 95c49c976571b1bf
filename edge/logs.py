"""Logging: lines for people on a terminal, one JSON object a line otherwise, or as `--log` says. No secret is ever
passed to it. Times are RFC 3339 in UTC.

An ERROR costs something that was asked for, or waits for a person; a WARNING tells that the station does less than it
was told to, or will soon. What others did wrong, and a station is used to, such as a frame to reject, is INFO.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Literal

OTHERS = {
    "mistral_common": logging.WARNING,
    "mcp": logging.WARNING,
    "mcp.client.stdio": logging.CRITICAL,  # whatever a server writes that is no message, with a traceback for each
    "httpx2": logging.WARNING,  # every address, and an address may hold a key
}
"""What others log, at the least."""


Form = Literal["auto", "json", "text"]


class TextFormatter(logging.Formatter):
    """A line for a person."""

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        del datefmt
        return rfc3339(record)


class JsonFormatter(logging.Formatter):
    """One JSON object a line, for journald and log shippers."""

    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "ts": rfc3339(record),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            entry["error"] = self.formatException(record.exc_info)
        return json.dumps(entry, ensure_ascii=False)


def rfc3339(record: logging.LogRecord) -> str:
    """When it was logged, such as `2026-11-29T04:46:29.492Z`."""
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def set_up(level: str = "INFO", form: Form = "auto") -> None:
    """Log to standard error; `auto` is text on a terminal, else JSON."""
    handler = logging.StreamHandler(sys.stderr)
    text = sys.stderr.isatty() if form == "auto" else form == "text"
    handler.setFormatter(TextFormatter("%(asctime)s %(levelname)-7s %(message)s") if text else JsonFormatter())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    if level == "WARNING":
        logging.getLogger("lineside.progress").setLevel(logging.INFO)  # of commands that take long
    for name, least in OTHERS.items():
        logging.getLogger(name).setLevel(least)
