"""Errors of the HTTP server, in the form that OpenAI's clients read: `{"error": {message, type, param, code}}`."""

from __future__ import annotations

from starlette.responses import JSONResponse

from lineside.edge.errors import EdgeError, RequestError
from lineside.runtime.errors import (
    AnswerError,
    DeadlineExceeded,
    EngineError,
    GrammarError,
    KVBudgetExceeded,
    MessageError,
    NotTaught,
    PictureError,
    PromptTooLong,
    RequestCancelled,
)

RETRY_AFTER_S = 5
"""When a client that found the station busy may come again."""
CLIENT_LEFT = 499
"""Counted where the client was gone before its answer; nginx's number."""
TOO_LONG = (PromptTooLong, KVBudgetExceeded)
ASKED_WRONGLY = (*TOO_LONG, AnswerError, GrammarError, MessageError, NotTaught, PictureError)
BUSY = (DeadlineExceeded, RequestCancelled)


class HttpError(EdgeError):
    """A request is answered with this status; `param` names the field that is wrong.

    `retry_after_s` is 0 where it is of no use to come again.
    """

    def __init__(
        self, status: int, code: str, message: str, *, param: str | None = None, retry_after_s: int = 0
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.param, self.retry_after_s = status, code, param, retry_after_s

    def body(self) -> dict[str, object]:
        kind = "invalid_request_error" if self.status < 500 else "server_error"
        if self.status == 429:
            kind = "rate_limit_error"
        return {"error": {"message": str(self), "type": kind, "param": self.param, "code": self.code}}

    def response(self) -> JSONResponse:
        headers = {}
        if self.retry_after_s:
            headers["Retry-After"] = str(self.retry_after_s)
        if self.status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        return JSONResponse(self.body(), self.status, headers)


def http_error(error: EngineError | RequestError) -> HttpError:
    """What a client is told of an error of the engine, or of a model that is not there."""
    if isinstance(error, RequestError):
        return HttpError(503, error.code, str(error))
    if isinstance(error, TOO_LONG):
        return HttpError(400, "context_length_exceeded", str(error), param="messages")
    if isinstance(error, ASKED_WRONGLY):
        return HttpError(400, error.code, str(error))
    if isinstance(error, BUSY):
        return HttpError(503, error.code, f"the station is busy: {error}", retry_after_s=RETRY_AFTER_S)
    return HttpError(500, error.code, str(error))
