"""Secrets that stand in a camera's address or pipeline, left out of what is said about it."""

from __future__ import annotations

import re

_LOGIN = re.compile(r"(?<=://)[^/\s\"']*@")
_NAMED = re.compile(
    r"((?:[\w-]*(?:pw|pass|passwd|password|secret|token|key|user-id))\s*=\s*)(\"[^\"]*\"|[^\s!&\"']+)", re.I
)
_QUERY = re.compile(r"(?<=\?)[^\s\"'!]*")


def masked(text: str) -> str:
    """Without users and passwords in addresses, what follows a `?` in them, and values of keys such as `user-pw=`."""
    return _QUERY.sub("***", _NAMED.sub(r"\1***", _LOGIN.sub("***@", text)))
