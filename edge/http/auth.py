"""Who may use the HTTP server: whoever shows the key, or without one whoever is on this machine.

A browser shows the key as the password of HTTP's own login; what it is asked as user is never looked at.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Collection
from dataclasses import dataclass

from pydantic import SecretStr
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from lineside.edge.address import is_loopback, parse_address
from lineside.edge.config import Config
from lineside.edge.http.errors import HttpError
from lineside.edge.secret_file import read_secret

PAGE_PATH = "/page/"
LOGIN = 'Basic realm="Lineside", charset="UTF-8"'
"""Has a browser ask for the key."""


@dataclass(frozen=True)
class Keys:
    """Of the server, and of the page where it has one of its own; empty for none."""

    api: str
    page: str

    def of(self, path: str) -> str:
        return self.page if self.page and _of_page(path) else self.api


def _of_page(path: str) -> bool:
    return path == "/" or path.startswith(PAGE_PATH)


def read_keys(config: Config) -> Keys:
    """Raises ConfigError."""
    http = config.http
    return Keys(
        _read(config, "http.key_file", http.key_file, http.key),
        _read(config, "http.page_key_file", http.page_key_file, http.page_key),
    )


def _read(config: Config, key: str, file: str, given: SecretStr) -> str:
    return read_secret(str(config.resolve(file)), key, "key") if file else given.get_secret_value()


class Door:
    """Lets those requests through that may come in, and answers the others.

    Without a key it lets in what names this machine as its host: a page on the internet that a browser here shows, and
    whose name was made to lead here, does not.

    Args:
        keys: what a client must show.
        open_paths: what anybody may ask for.
    """

    def __init__(self, app: ASGIApp, keys: Keys, open_paths: Collection[str] = ()) -> None:
        self._app, self._keys, self._open = app, keys, frozenset(open_paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] not in self._open and (problem := self._problem(scope)) is not None:
            response = problem.response()
            if problem.status == 401 and _of_page(scope["path"]):
                response.headers["WWW-Authenticate"] = LOGIN
            await response(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _problem(self, scope: Scope) -> HttpError | None:
        headers, key = Headers(scope=scope), self._keys.of(scope["path"])
        if not key:
            host = headers.get("host", "")
            told = f"the host {host!r} is not this machine, which alone is served without a key: give `http.key_file`"
            return None if _is_here(host) else HttpError(403, "foreign_host", told)
        shown = _shown(headers.get("authorization", ""))
        if shown and hmac.compare_digest(shown, key.encode()):
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
