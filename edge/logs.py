"""Logging: lines for people on a terminal, one JSON object a line otherwise. No secret is ever passed to it."""

from __future__ import annotations

import json
import logging
import sys

OTHERS = {
    "mistral_common": logging.WARNING,
    "mcp": logging.WARNING,
    "mcp.client.stdio": logging.CRITICAL,  # whatever a server writes that is no message, with a traceback for each
    "httpx2": logging.WARNING,  # every address, and an address may hold a key
}
"""What others log, at the least."""


class JsonFormatter(logging.Formatter):
    """One JSON object a line, for journald and log shippers."""

    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "ts": self.formatTime(record),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            entry["error"] = self.formatException(record.exc_info)
        return json.dumps(entry, ensure_ascii=False)


def set_up(level: str = "INFO") -> None:
    """Log to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    plain = logging.Formatter("%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S")
    handler.setFormatter(plain if sys.stderr.isatty() else JsonFormatter())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for name, least in OTHERS.items():
        logging.getLogger(name).setLevel(least)
