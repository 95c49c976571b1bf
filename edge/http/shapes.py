"""What a client may ask of `/v1/chat/completions`: the part of OpenAI's request that means something here.

A field that would change the answer and cannot be obeyed is refused; others, such as `user`, are passed over.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lineside.edge.http.errors import HttpError

LAX = ConfigDict(frozen=True, extra="ignore")
REFUSED = ("stop", "logit_bias", "logprobs", "functions", "function_call")


class TextPart(BaseModel):
    model_config = LAX
    type: Literal["text"]
    text: str


class ImageUrl(BaseModel):
    model_config = LAX
    url: str
    detail: Literal["auto", "low", "high"] | None = None


class ImagePart(BaseModel):
    model_config = LAX
    type: Literal["image_url"]
    image_url: ImageUrl


Part = Annotated[TextPart | ImagePart, Field(discriminator="type")]


class CalledFunction(BaseModel):
    """`arguments` is the text of a JSON object."""

    model_config = LAX
    name: str
    arguments: str = "{}"


class Called(BaseModel):
    model_config = LAX
    id: str
    function: CalledFunction


class ChatMessage(BaseModel):
    """A part that is a plain text is taken too: some clients send it."""

    model_config = LAX
    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[Part | str] | None = None
    tool_calls: list[Called] | None = None
    tool_call_id: str = ""


class Function(BaseModel):
    model_config = LAX
    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None


class FunctionTool(BaseModel):
    model_config = LAX
    type: Literal["function"] = "function"
    function: Function


class Named(BaseModel):
    model_config = LAX
    name: str


class NamedChoice(BaseModel):
    model_config = LAX
    type: Literal["function"] = "function"
    function: Named


class JsonSchema(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)
    schema_: dict[str, Any] = Field(alias="schema")


class ResponseFormat(BaseModel):
    model_config = LAX
    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None


class StreamOptions(BaseModel):
    model_config = LAX
    include_usage: bool = False


class ChatRequest(BaseModel):
    model_config = LAX
    model: str = ""
    messages: list[ChatMessage] = Field(min_length=1)
    tools: list[FunctionTool] | None = None
    tool_choice: Literal["auto", "none", "required"] | NamedChoice | None = None
    parallel_tool_calls: bool | None = None
    response_format: ResponseFormat | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: int | None = Field(default=None, ge=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    temperature: float | None = Field(default=None, ge=0, le=10)
    seed: int | None = None
    n: int | None = Field(default=None, ge=1, le=1)
    stop: Any = None
    logit_bias: Any = None
    logprobs: Any = None
    functions: Any = None
    function_call: Any = None


def read_request(body: bytes) -> ChatRequest:
    """Raises HttpError where the body is no JSON, or not of this shape."""
    try:
        request = ChatRequest.model_validate_json(body)
    except ValidationError as error:
        raise _invalid(error) from None
    for name in REFUSED:
        if getattr(request, name):
            raise HttpError(400, "unsupported_parameter", f"`{name}` is not supported: leave it out", param=name)
    form = request.response_format
    if form is not None and form.type == "json_schema" and form.json_schema is None:
        raise _wrong("`response_format.json_schema` is missing", "response_format")
    if form is not None and form.type != "text" and request.tools:
        raise _wrong("`response_format` beside `tools` is not supported: send one of them", "response_format")
    return request


def _wrong(message: str, param: str) -> HttpError:
    return HttpError(400, "invalid_value", message, param=param)


def _invalid(error: ValidationError) -> HttpError:
    """The deepest of the mistakes: that of the variant which was meant."""
    found = max(error.errors(include_url=False, include_input=False), key=lambda item: len(item["loc"]))
    if found["type"] == "json_invalid":
        return HttpError(400, "invalid_json", f"the body is not JSON: {found['msg']}")
    fields = ChatRequest.__pydantic_fields__
    path = [str(part) for part in found["loc"] if isinstance(part, int) or _is_name(part)]
    where = ".".join(path)
    param = path[0] if path and path[0] in fields else None
    return HttpError(400, "invalid_value", f"`{where}`: {found['msg']}", param=param)


def _is_name(part: str) -> bool:
    """Not the name of a variant, such as `list[...]` or `str`."""
    return "[" not in part and part not in ("str", "NamedChoice", "text")
