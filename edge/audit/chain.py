"""One line of the audit log, and how it is chained to the line before it.

A line is a JSON object whose last two keys are `prev`, the hash of the line before it, and `hash`: the SHA-256 of the
line's own bytes up to the comma before that key. So every byte counts, and a line cannot be moved.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

ZERO = "0" * 64
"""What the first line of all has before it."""
END = re.compile(rb',"hash":"([0-9a-f]{64})"\}')
END_BYTES = 75


@dataclass(frozen=True)
class Link:
    """A place in the chain: the number of a line, from 1, and its hash."""

    seq: int
    hash: str


START = Link(0, ZERO)


@dataclass(frozen=True)
class Line:
    """A line that fits itself. Whether it fits the one before it is for whoever reads on."""

    link: Link
    prev: str
    body: Mapping[str, Any]

    def follows(self, before: Link) -> bool:
        return (self.link.seq, self.prev) == (before.seq + 1, before.hash)


def seal(body: Mapping[str, Any], before: Link) -> tuple[bytes, Link]:
    """The line after `before`, with its line break, and its place in the chain."""
    seq = before.seq + 1
    text = json.dumps({"seq": seq, **body, "prev": before.hash}, ensure_ascii=True, separators=(",", ":"))
    inner = text.encode().removesuffix(b"}")
    digest = hashlib.sha256(inner).hexdigest()
    return inner + f',"hash":"{digest}"}}\n'.encode(), Link(seq, digest)


def parse_line(line: bytes) -> Line:
    """A line without its line break. Raises ValueError with a sentence where it does not fit itself."""
    end = END.fullmatch(line[-END_BYTES:])
    if end is None:
        raise ValueError("it does not end with its hash")
    inner, digest = line[:-END_BYTES], end[1].decode()
    if hashlib.sha256(inner).hexdigest() != digest:
        raise ValueError("its hash is not that of its content: it was changed")
    try:
        body = json.loads(inner + b"}")
        link, prev = Link(int(body.pop("seq")), digest), str(body.pop("prev"))
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError):
        raise ValueError("it is no line of an audit log") from None
    return Line(link, prev, body)
