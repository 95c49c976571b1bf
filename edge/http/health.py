"""`/healthz`: whether the station's loops turn, for whoever starts it again when they do not."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from lineside.edge.pulse import Pulse

HEALTH_PATH = "/healthz"


def health_route(pulse: Pulse) -> Route:
    async def health(_request: Request) -> Response:
        stuck = pulse.stuck()
        return JSONResponse({"status": "stuck" if stuck else "ok", "stuck": stuck}, 503 if stuck else 200)

    return Route(HEALTH_PATH, health)
