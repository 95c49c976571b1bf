"""`/v1/models` and `/v1/chat/completions`, as OpenAI's clients know them.

The model's calls go to the client, and none is carried out here.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from lineside.edge.config import MIB, Config
from lineside.edge.errors import RequestError
from lineside.edge.http.answers import DONE, Completion, event, finish_reason
from lineside.edge.http.conversation import read_conversation
from lineside.edge.http.errors import CLIENT_LEFT, HttpError, http_error
from lineside.edge.http.line import Line, Ticket, answer
from lineside.edge.http.shapes import ChatRequest, read_request
from lineside.edge.models import Models, there
from lineside.runtime.assistant import Answer
from lineside.runtime.chat import ToolCall
from lineside.runtime.engine.engine import Engine
from lineside.runtime.errors import EngineError, RequestCancelled

BODY_S = 30.0
"""How long a client may take to send its request."""


class Completions:
    """Answers with the models as they are when it is asked, under the settings of then."""

    def __init__(self, settings: Callable[[], Config], models: Callable[[], Models]) -> None:
        self._settings, self._models = settings, models
        self._line = Line()
        self.routes = [
            Route("/v1/models", self._list),
            Route("/v1/models/{name:path}", self._show),
            Route("/v1/chat/completions", self._complete, methods=["POST"]),
        ]

    def close(self) -> None:
        self._line.close()

    async def _list(self, _request: Request) -> Response:
        return JSONResponse({"object": "list", "data": [_described(engine) for engine in self._engines()]})

    async def _show(self, request: Request) -> Response:
        name = request.path_params["name"]
        for engine in self._engines():
            if engine.bundle.manifest.name == name:
                return JSONResponse(_described(engine))
        raise HttpError(404, "model_not_found", f"there is no model {name!r}: GET /v1/models lists those that run")

    def _engines(self) -> list[Engine]:
        """That of commands first: it answers to every name that no other has."""
        models = self._models()
        opened = [model.engine for model in models.opened()]
        return sorted(opened, key=lambda engine: engine is not models.commands_engine)

    def _engine(self, name: str) -> Engine:
        """Raises RequestError where it could not be opened."""
        named = (engine for engine in self._engines() if engine.bundle.manifest.name == name)
        return next(named, None) or there(self._models().commands_engine)

    async def _complete(self, request: Request) -> Response:
        self._line.enter()
        try:
            config = self._settings()
            chat = await asyncio.to_thread(read_request, await _body(request, config.http.max_body_mb * MIB))
            engine = self._engine(chat.model)
        except BaseException:
            self._line.leave()
            raise

        def work(ticket: Ticket) -> Answer:
            if ticket.cancelled():
                raise RequestCancelled("the station is stopping")
            return answer(engine, read_conversation(chat, config), ticket, config.commands.call_above)

        ticket = self._line.begin(work, config.http.timeout_s, piecewise=bool(chat.stream))
        ticket.watching = asyncio.create_task(_watch(request, ticket))
        completion = Completion(engine.bundle)
        try:
            first = await ticket.next() if chat.stream else None
            given = await ticket.answer if first is None else None
        except RequestCancelled:
            if ticket.gone.is_set():
                return Response(status_code=CLIENT_LEFT)
            raise
        if given is not None and not chat.stream:
            return JSONResponse(completion.whole(given, _calls(chat, given)))
        return StreamingResponse(_events(completion, chat, ticket, first), media_type="text/event-stream")


async def _events(completion: Completion, chat: ChatRequest, ticket: Ticket, first: str | None) -> AsyncIterator[str]:
    """The answer from its `first` piece on; an error behind that is an event too."""
    try:
        yield completion.piece({"role": "assistant", "content": ""})
        piece = first
        while piece is not None:
            yield completion.piece({"content": piece})
            piece = await ticket.next()
        given = await ticket.answer
        calls = _calls(chat, given)
        if calls:
            yield completion.calls(calls)
        yield completion.piece({}, finish_reason(given, calls))
        if chat.stream_options is not None and chat.stream_options.include_usage:
            yield completion.used(given)
    except (EngineError, RequestError) as error:
        yield event(http_error(error).body())
    except HttpError as error:
        yield event(error.body())
    finally:
        ticket.gone.set()
    yield DONE


def _calls(chat: ChatRequest, given: Answer) -> tuple[ToolCall, ...]:
    return given.calls[:1] if chat.parallel_tool_calls is False else given.calls


async def _watch(request: Request, ticket: Ticket) -> None:
    """Where the client goes away its answer ends, and what it took of the engine is free.

    The server says so, too, when the response is complete.
    """
    while (await request.receive())["type"] != "http.disconnect":
        pass
    ticket.gone.set()


async def _body(request: Request, most: int) -> bytes:
    """Raises HttpError where it is too long, too slow, or not declared as JSON."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        told = "the request must be JSON, with the header Content-Type: application/json"
        raise HttpError(415, "unsupported_media_type", told)
    too_long = HttpError(413, "request_too_large", f"a request may have {most} bytes (`http.max_body_mb`)")
    declared = request.headers.get("content-length", "0")
    if declared.isdecimal() and int(declared) > most:
        raise too_long
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_S):
            async for piece in request.stream():
                body += piece
                if len(body) > most:
                    raise too_long
    except TimeoutError:
        raise HttpError(408, "timeout", f"the request did not come within {BODY_S:g} s") from None
    return bytes(body)


def _described(engine: Engine) -> dict[str, object]:
    """`max_model_len` is what servers that host models call the length of prompt and answer."""
    name = engine.bundle.manifest.name
    return {"id": name, "object": "model", "created": 0, "owned_by": "lineside", "max_model_len": engine.capacity}
