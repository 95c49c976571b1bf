"""The page's addresses.

All that changes something is a POST with a header that no other site can make a browser send.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from lineside.edge.errors import RequestError
from lineside.edge.history.records import Record
from lineside.edge.http.errors import HttpError
from lineside.edge.page.pictures import kept_picture
from lineside.edge.page.shown import Shown, state_of
from lineside.edge.page.teaching import FOLDERS, Teaching
from lineside.edge.wire.messages import Confirmation

STATIC = Path(__file__).parent / "static"
OURS = "x-lineside"
MOST_BYTES = 10_000
BY = "the station's page"
NOT_STORED = {"Cache-Control": "no-store"}
SAFE = NOT_STORED | {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


class Page:
    """Of one station."""

    def __init__(self, station: Shown) -> None:
        self._station = station
        self.teaching = Teaching(lambda: station.config, station.history, lambda: station.reloader.reopen())

    @property
    def routes(self) -> list[BaseRoute]:
        return [
            Route("/", self._index),
            Mount("/page/static", StaticFiles(directory=STATIC)),
            Route("/page/state", self._state),
            Route("/page/camera/{camera}.jpg", self._camera),
            Route("/page/verdict/{id}.jpg", self._verdict),
            Route("/page/review/{id}", self._review, methods=["POST"]),
            Route("/page/confirm/{tool}", self._confirm, methods=["POST"]),
            Route("/page/{kind}/{camera}", self._teach, methods=["POST"]),
            Route("/page/{kind}/{camera}", self._drawn),
        ]

    def close(self) -> None:
        self.teaching.close()

    async def _index(self, _request: Request) -> Response:
        return FileResponse(STATIC / "index.html", headers=SAFE)

    async def _state(self, _request: Request) -> Response:
        job = self.teaching.job

        def look() -> dict[str, Any]:
            state = state_of(self._station, self._may())
            return state | {"job": asdict(job) if job is not None else None}

        return JSONResponse(await run_in_threadpool(look), headers=NOT_STORED)

    async def _camera(self, request: Request) -> Response:
        return _jpeg(self._station.last_state.picture(request.path_params["camera"]))

    async def _verdict(self, request: Request) -> Response:
        record = await self._record(request)
        small = "small" in request.query_params
        return _jpeg(await run_in_threadpool(kept_picture, self._station.history, record, small=small))

    async def _review(self, request: Request) -> Response:
        """`{"verdict": "pass" or "fail"}`: what a person says of a kept verdict."""
        said = (await _body(request)).get("verdict")
        if said not in ("pass", "fail"):
            raise HttpError(400, "malformed", '`verdict` is "pass" or "fail"', param="verdict")
        record = await self._record(request)
        await run_in_threadpool(self._station.history.review, record.id, said, BY)
        self._station.counters.add("reviews", camera=record.camera, verdict=said)
        return JSONResponse({"id": record.id, "reviewed": said})

    async def _confirm(self, request: Request) -> Response:
        """`{"id": ..., "confirmed": true or false}`, as on MQTT."""
        body = await _body(request)
        if "confirm" not in self._may():
            told = "this page answers no questions: give it a password of its own, `http.page_key_file`"
            raise HttpError(403, "not_allowed", told)
        tool, call = request.path_params["tool"], body.get("id")
        waiting = {(asked.tool, asked.call_id) for asked in self._station.calls.confirmations.waiting()}
        if (tool, call) not in waiting or not isinstance(body.get("confirmed"), bool):
            raise HttpError(409, "not_waiting", f"no call {call} of {tool} waits for an answer any more")
        answer = Confirmation(id=str(call), confirmed=body["confirmed"], by=BY)
        self._station.calls.confirmations.handle(tool, answer.model_dump_json().encode(), way="page")
        return JSONResponse({"id": call, "confirmed": answer.confirmed})

    async def _teach(self, request: Request) -> Response:
        kind = _kind(request)
        await _body(request)
        if "learn" not in self._may():
            advice = 'write `[remote] allow = ["learn"]` into the station file'
            raise HttpError(403, "not_allowed", f"this station does not {kind} from its page: {advice}")
        job = await run_in_threadpool(_told, lambda: self.teaching.start(kind, request.path_params["camera"]))
        return JSONResponse(asdict(job), 202)

    async def _drawn(self, request: Request) -> Response:
        kind, camera = _kind(request), request.path_params["camera"]
        path = self.teaching.picture(kind, camera) if camera in self._station.config.cameras else None
        if path is None or not path.exists():
            raise HttpError(404, "not_found", f"nothing was drawn of {camera} yet")
        return FileResponse(path, headers=NOT_STORED)

    def _may(self) -> set[str]:
        """What may be done here besides looking. A key that programs have lets nobody answer for a person."""
        http = self._station.config.http
        confirm = {"confirm"} if http.page_key.get_secret_value() or http.page_key_file else set()
        return confirm | (set(self._station.config.remote.allow) & {"learn"})

    async def _record(self, request: Request) -> Record:
        result_id = request.path_params["id"]
        record = await run_in_threadpool(self._station.history.find, result_id)
        if record is None:
            raise HttpError(404, "not_found", f"there is no result {result_id} any more")
        return record


def _kind(request: Request) -> Any:
    kind = request.path_params["kind"]
    if kind not in FOLDERS:
        raise HttpError(404, "not_found", f"{request.url.path}: there are {' and '.join(FOLDERS)}")
    return kind


def _told(work: Callable[[], Any]) -> Any:
    """Raises HttpError: what the station refuses."""
    try:
        return work()
    except RequestError as error:
        raise HttpError(409, error.code, str(error)) from error


async def _body(request: Request) -> Mapping[str, Any]:
    """Raises HttpError: it did not come from this page, or is no JSON object."""
    if OURS not in request.headers:
        raise HttpError(403, "foreign_page", "changes are made by the station's own page alone")
    try:
        size = int(request.headers.get("content-length", 0))
        if size > MOST_BYTES:
            raise HttpError(413, "too_large", f"the body has {size} bytes, and may have {MOST_BYTES}")
        body = await request.json() if size else {}
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise HttpError(400, "malformed", "the body is no JSON object")
    return body


def _jpeg(data: bytes | None) -> Response:
    if not data:
        raise HttpError(404, "not_found", "there is no picture any more, or not yet")
    return Response(data, media_type="image/jpeg", headers=NOT_STORED)
