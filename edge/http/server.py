"""The HTTP server of a station: uvicorn on a thread of its own, for whatever routes it is given."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lineside.edge.address import is_loopback, show_address
from lineside.edge.counters import Counters
from lineside.edge.errors import EdgeError, RequestError
from lineside.edge.http.auth import Door, Keys
from lineside.edge.http.errors import CLIENT_LEFT, HttpError, http_error
from lineside.edge.http_config import HttpConfig
from lineside.runtime.errors import EngineError

log = logging.getLogger("lineside.http")
MOST_CONNECTIONS = 64
STOPPING_S = 3
"""How long answers under way may take to end when the station stops; they are cancelled."""


class HttpServer:
    """Serves `routes` between `start` and `close`. The port is taken at once.

    Args:
        keys: what clients must show.
        open_paths: what is served without it.

    Raises:
        EdgeError: the port is taken, or the address is none of this machine's.
    """

    def __init__(
        self,
        config: HttpConfig,
        keys: Keys,
        routes: Sequence[BaseRoute],
        counters: Counters,
        open_paths: Collection[str],
    ) -> None:
        where = show_address(config.address, config.port)
        if not keys.api and not is_loopback(config.address):
            raise EdgeError(f"`http.address` {config.address}: without a key only this machine may be served")
        if not is_loopback(config.address):
            log.warning("`http.address`: the key comes to %s in the clear: put a proxy with TLS before it", where)
        family = socket.AF_INET6 if ":" in config.address else socket.AF_INET
        try:
            self._socket = socket.create_server((config.address, config.port), family=family)
        except OSError as error:
            raise EdgeError(f"`http.port`: {where} cannot be used ({error.strerror}): choose another") from error
        door = Middleware(Door, keys=keys, open_paths=open_paths)
        app = Starlette(routes=list(routes), middleware=[door], exception_handlers=HANDLERS)
        self._server = uvicorn.Server(
            uvicorn.Config(
                _Counted(app, counters),
                http="h11",
                ws="none",
                loop="asyncio",
                lifespan="off",
                log_config=None,
                log_level="warning",
                access_log=False,
                proxy_headers=False,
                server_header=False,
                limit_concurrency=MOST_CONNECTIONS,
                timeout_graceful_shutdown=STOPPING_S,
            )
        )
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],), name="http", daemon=True)
        self.port = int(self._socket.getsockname()[1])

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Requests under way should have been told to end."""
        self._server.should_exit = True
        if self._thread.is_alive():
            self._thread.join(STOPPING_S + 2)
        self._socket.close()


class _Counted:
    """Counts every request by its status."""

    def __init__(self, app: ASGIApp, counters: Counters) -> None:
        self._app, self._counters = app, counters

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        status = CLIENT_LEFT

        async def noticing(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            await self._app(scope, receive, noticing)
        finally:
            self._counters.add("http_requests", status=str(status))


async def _refused(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HttpError)
    return error.response()


async def _failed(_request: Request, error: Exception) -> Response:
    assert isinstance(error, EngineError | RequestError)
    return http_error(error).response()


async def _not_there(request: Request, error: Exception) -> Response:
    """No such path, or not with this method."""
    assert isinstance(error, HTTPException)
    there = "there are GET /, GET /v1/models and POST /v1/chat/completions"
    return HttpError(error.status_code, "not_found", f"{request.method} {request.url.path}: {there}").response()


async def _left(_request: Request, _error: Exception) -> Response:
    return Response(status_code=CLIENT_LEFT)


async def _broken(_request: Request, _error: Exception) -> Response:
    """Starlette raises the error again, and the server logs it."""
    return HttpError(500, "internal", "unexpected: the station's log says more").response()


HANDLERS: Mapping[Any, Any] = {
    HttpError: _refused,
    EngineError: _failed,
    RequestError: _failed,
    HTTPException: _not_there,
    ClientDisconnect: _left,
    Exception: _broken,
}
