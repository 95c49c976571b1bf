"""Who may use the HTTP server: whoever shows the key, or without one whoever is on this machine.

A browser shows the key as the password of HTTP's own login; what it is asked as user is never looked at.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Collection

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from lineside.edge.address import is_loopback, parse_address
from lineside.edge.config import Config
from lineside.edge.http.errors import HttpError
from lineside.edge.secret_file import read_secret


def read_key(config: Config) -> str:
    """From `http.key_file`, else `http.key`; empty where there is neither. Raises ConfigError."""
    if config.http.key_file:
        return read_secret(str(config.resolve(config.http.key_file)), "http.key_file", "key")
    return config.http.key.get_secret_value()


class Door:
    """Lets those requests through that may come in, and answers the others.

    Without a key it lets in what names this machine as its host: a page on the internet that a browser here shows, and
    whose name was made to lead here, does not.

    Args:
        key: what a client must show; empty for nothing.
        open_paths: what anybody may ask for.
    """

    def __init__(self, app: ASGIApp, key: str, open_paths: Collection[str] = ()) -> None:
        self._app, self._key, self._open = app, key.encode(), frozenset(open_paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] not in self._open and (problem := self._problem(Headers(scope=scope))) is not None:
            await problem.response()(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _problem(self, headers: Headers) -> HttpError | None:
        if not self._key:
            host = headers.get("host", "")
            told = f"the host {host!r} is not this machine, which alone is served without a key: give `http.key_file`"
            return None if _is_here(host) else HttpError(403, "foreign_host", told)
        shown = _shown(headers.get("authorization", ""))
        if shown and hmac.compare_digest(shown, self._key):
            return None
        advice = "send the station's `http.key` as Authorization: Bearer KEY"
        return HttpError(401, "invalid_api_key", f"the key is {'not right' if shown else 'missing'}: {advice}")


def _shown(authorization: str) -> bytes:
    """The key of `Bearer KEY`, or the password of `Basic`; empty where there is neither."""
    scheme, _, rest = authorization.strip().partition(" ")
    if scheme.lower() == "bearer":
        return rest.strip().encode()
    if scheme.lower() != "basic":
        return b""
    try:
        return base64.b64decode(rest.strip(), validate=True).partition(b":")[2]
    except (binascii.Error, ValueError):
        return b""


def _is_here(host: str) -> bool:
    try:
        return is_loopback(parse_address(host, 80)[0])
    except ValueError:
        return False
