"""A client's request as the engine takes it: messages, pictures, tools, and what the answer must be."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import dataclass

from lineside.edge.config import Config
from lineside.edge.http.errors import HttpError
from lineside.edge.http.shapes import Called, ChatMessage, ChatRequest, ImageUrl, NamedChoice
from lineside.runtime.chat import Message, Picture, Tool, ToolCall
from lineside.runtime.engine.sampling import Sampling
from lineside.runtime.errors import PictureError, PictureTooLarge
from lineside.runtime.grammar.json_schema import Schema
from lineside.runtime.grammar.tool_grammar import OneTool, ToolChoice
from lineside.runtime.picture import decode_picture, fit_side

DATA_URL = re.compile(r"data:[^,;]*(?:;[^,;]*)*;base64,", re.IGNORECASE)
OWN_ID = re.compile(r"[a-zA-Z0-9]{9}")
LOW_DETAIL = 512
"""Pixels of the longer side of a picture with `detail: low`, as OpenAI has it."""
NO_PARAMETERS: dict[str, object] = {"type": "object", "properties": {}}


@dataclass(frozen=True)
class Asked:
    """What is put to the engine."""

    messages: tuple[Message, ...]
    tools: tuple[Tool, ...]
    tool_choice: ToolChoice
    schema: Schema | None
    max_tokens: int
    sampling: Sampling


def read_conversation(request: ChatRequest, config: Config) -> Asked:
    """Pictures are decoded here.

    Raises:
        HttpError: a picture or a call cannot be read.
    """
    pictures = Pictures(config.inspect.max_pixels)
    messages = tuple(_message(number, message, pictures) for number, message in enumerate(request.messages))
    tools = tuple(
        Tool(tool.function.name, tool.function.description or "", tool.function.parameters or NO_PARAMETERS)
        for tool in request.tools or ()
    )
    most = config.http.max_tokens
    wanted = request.max_completion_tokens or request.max_tokens or most
    temperature = config.model.temperature if request.temperature is None else request.temperature
    seed = config.model.seed if request.seed is None else request.seed
    return Asked(
        messages,
        tools,
        _choice(request),
        _schema(request),
        min(wanted, most),
        Sampling(temperature, seed % 2**63),
    )


def _choice(request: ChatRequest) -> ToolChoice:
    choice = request.tool_choice or "auto"
    return OneTool(choice.function.name) if isinstance(choice, NamedChoice) else choice


def _schema(request: ChatRequest) -> Schema | None:
    form = request.response_format
    if form is None or form.type == "text":
        return None
    return form.json_schema.schema_ if form.json_schema is not None else {"type": "object"}


class Pictures:
    """Decodes the pictures of one request, which may have `max_pixels` together."""

    def __init__(self, max_pixels: int) -> None:
        self._most = self._left = max_pixels

    def read(self, image: ImageUrl, param: str) -> Picture:
        """Raises HttpError."""
        match = DATA_URL.match(image.url)
        if match is None:
            told = "pictures come in the request, as data:image/jpeg;base64,...: nothing is fetched from elsewhere"
            raise HttpError(400, "picture_not_inline", told, param=param)
        try:
            picture = decode_picture(base64.b64decode(image.url[match.end() :], validate=True), self._left)
        except ValueError as error:
            raise HttpError(400, "picture_undecodable", f"the picture is not base64: {error}", param=param) from None
        except PictureTooLarge:
            most = self._most / 1e6
            told = f"the pictures have more than {most:g} megapixels together (`inspect.max_pixels`): send smaller ones"
            raise HttpError(400, "picture_too_large", told, param=param) from None
        except PictureError as error:
            raise HttpError(400, error.code, str(error), param=param) from None
        self._left -= picture.shape[0] * picture.shape[1]
        return fit_side(picture, LOW_DETAIL if image.detail == "low" else None)


def _message(number: int, message: ChatMessage, pictures: Pictures) -> Message:
    content: list[str | Picture] = []
    for part in [message.content] if isinstance(message.content, str) else message.content or ():
        if isinstance(part, str):
            content.append(part)
        elif part.type == "text":
            content.append(part.text)
        else:
            content.append(pictures.read(part.image_url, f"messages.{number}"))
    calls = tuple(_call(number, call) for call in message.tool_calls or ())
    return Message(message.role, tuple(content), calls, call_id(message.tool_call_id) if message.tool_call_id else "")


def _call(number: int, call: Called) -> ToolCall:
    try:
        arguments = json.loads(call.function.arguments or "{}")
    except (ValueError, RecursionError):
        arguments = None
    if not isinstance(arguments, dict):
        told = f"the arguments of the call {call.id} are not the text of a JSON object"
        raise HttpError(400, "invalid_value", told, param=f"messages.{number}")
    return ToolCall(call_id(call.id), call.function.name, arguments)


def call_id(text: str) -> str:
    """Nine letters or digits, as Mistral's models have them, for the id of a call that others may have made."""
    return text if OWN_ID.fullmatch(text) else hashlib.sha256(text.encode()).hexdigest()[:9]
