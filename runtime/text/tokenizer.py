"""Conversation to token ids and back, by mistral-common: the reference for Mistral's formats and pixels."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, cast, get_args

import numpy as np
import numpy.typing as npt
from mistral_common.exceptions import MistralCommonException
from mistral_common.protocol.instruct.chunk import ImageChunk, TextChunk
from mistral_common.protocol.instruct.messages import AssistantMessage, SystemMessage, ToolMessage, UserMessage
from mistral_common.protocol.instruct.request import ChatCompletionRequest
from mistral_common.protocol.instruct.tool_calls import Function, FunctionCall
from mistral_common.protocol.instruct.tool_calls import Tool as MistralTool
from mistral_common.protocol.instruct.tool_calls import ToolCall as MistralToolCall
from mistral_common.tokens.tokenizers.base import SpecialTokenPolicy, SpecialTokens
from mistral_common.tokens.tokenizers.image import ImageConfig
from PIL import Image

from lineside.runtime.chat import Message, Prompt, Role, Tool, ToolCall, check_pixels
from lineside.runtime.errors import AnswerError, BundleFormat, MessageError
from lineside.runtime.text.tekken import read_mistral

ROLES: tuple[str, ...] = get_args(Role)
MOST_REASON = 200
"""Characters of what mistral-common says of a file: it repeats the whole of it."""


class Tokenizer:
    """A Tekken tokenizer with its instruction format (v3, v7, v11 or v13) and picture settings.

    Args:
        path: a `tekken.json` that carries `config.version`.

    Raises:
        BundleFormat: the file is not a Tekken tokenizer.
    """

    def __init__(self, path: Path) -> None:
        try:
            self.mistral: Any = read_mistral(path)
        except (
            OSError,
            ValueError,
            LookupError,
            TypeError,
            AttributeError,
            AssertionError,
            MistralCommonException,
        ) as error:
            reason = str(error).splitlines()[0][:MOST_REASON] if str(error) else type(error).__name__
            raise BundleFormat(f"{path}: not a Tekken tokenizer file ({reason})") from error
        self._inner = cast(Any, self.mistral.instruct_tokenizer.tokenizer)
        self.version: str = str(self._inner.version.value)
        self.vocab_size: int = int(self._inner.n_words)
        self.bos_id: int = int(self._inner.bos_id)
        self.eos_id: int = int(self._inner.eos_id)
        pieces = ((self._inner.id_to_piece(i), i) for i in range(self._inner.num_special_tokens))
        self._special_ids: dict[str, int] = dict(pieces)
        self.image_config: ImageConfig | None = self._inner.image
        version = int(self.version[1:].partition("m")[0])
        self.named_calls = version >= 11
        """Each call stands behind a token of its own; older models write a JSON list."""
        self.text_before_calls = version >= 7
        self.calls_with_ids = version < 13

    def special_id(self, name: str) -> int | None:
        """The id of a special token such as `[IMG]`, or None where this vocabulary lacks it."""
        return self._special_ids.get(name)

    def encode_chat(self, messages: Sequence[Message], tools: Sequence[Tool] = ()) -> Prompt:
        """Tokenize a conversation that ends in a user or tool turn.

        Raises:
            MessageError: an unknown role, or a picture in a turn that is not a user's.
            AnswerError: mistral-common refuses the order or content of the messages.
            PictureEmpty: a picture without pixels, or of another shape or type.
        """
        request: ChatCompletionRequest[Any] = ChatCompletionRequest(
            messages=[_to_mistral(message) for message in messages],
            tools=[to_mistral_tool(tool) for tool in tools] or None,
            model="lineside",
        )
        try:
            encoded = self.mistral.encode_chat_completion(request)
        except MistralCommonException as error:
            raise AnswerError(f"the conversation cannot be encoded: {error}") from error
        pixels = tuple(np.ascontiguousarray(image, dtype=np.float32) for image in encoded.images)
        return Prompt(np.asarray(encoded.tokens, dtype=np.int64), pixels)

    def encode_text(self, text: str) -> npt.NDArray[np.int64]:
        """Plain text to ids `(T,)`, without begin or end token."""
        return np.asarray(self._inner.encode(text, bos=False, eos=False), dtype=np.int64)

    def decode(self, ids: Sequence[int] | npt.NDArray[np.int64]) -> str:
        """Ids to text; special tokens are left out."""
        text: str = self._inner.decode([int(i) for i in ids], special_token_policy=SpecialTokenPolicy.IGNORE)
        return text

    @cached_property
    def token_bytes(self) -> list[bytes]:
        """The bytes of every token, empty for special ones."""
        special = self._inner.num_special_tokens
        piece = self._inner.id_to_byte_piece
        return [b""] * special + [piece(i, SpecialTokenPolicy.RAISE) for i in range(special, self.vocab_size)]

    @cached_property
    def control_ids(self) -> frozenset[int]:
        """The special tokens that have no place in a text: all but the end token and those around a thought."""
        kept = {self.eos_id, *self.thought_ids}
        return frozenset(self._special_ids.values()) - kept

    @cached_property
    def thought_ids(self) -> tuple[int | None, int | None]:
        """The tokens around a thought; None where models with this tokenizer have no such tokens."""
        begin, end = SpecialTokens.begin_think.value, SpecialTokens.end_think.value
        return self.special_id(begin), self.special_id(end)

    @property
    def tool_calls_id(self) -> int | None:
        """The token behind which calls stand; None where models with this tokenizer cannot call."""
        return self.special_id(SpecialTokens.tool_calls.value)

    def encode_answer(self, text: str, calls: Sequence[ToolCall] = ()) -> npt.NDArray[np.int64]:
        """The tokens `(T,)` of an assistant's turn, without the end token, as a later prompt will hold them."""
        message = _to_mistral(Message("assistant", (text,) if text else (), tuple(calls)))
        tokens = self.mistral.instruct_tokenizer.encode_assistant_message(message, is_before_last_user_message=False)
        return np.asarray(tokens[:-1], dtype=np.int64)


def _to_mistral(message: Message) -> Any:
    """Raises MessageError, PictureEmpty."""
    if message.role not in ROLES:
        raise MessageError(f"the role {message.role!r} is not known; there are {', '.join(ROLES)}")
    if message.role == "user":
        return UserMessage(content=[_chunk(part) for part in message.content])
    if not all(isinstance(part, str) for part in message.content):
        raise MessageError(f"a message of the role {message.role!r} has text only: put pictures into one of `user`")
    text = "".join(cast("tuple[str, ...]", message.content))
    if message.role in ("system", "developer"):
        return SystemMessage(content=text)
    if message.role == "tool":
        return ToolMessage(content=text, tool_call_id=message.tool_call_id)
    calls = [_call_to_mistral(call) for call in message.tool_calls]
    return AssistantMessage(content=text or None, tool_calls=calls or None)


def _chunk(part: Any) -> TextChunk | ImageChunk:
    if isinstance(part, str):
        return TextChunk(text=part)
    if not isinstance(part, np.ndarray):
        raise MessageError(f"a message has text and pictures, which are arrays, not {type(part).__name__}")
    check_pixels(part)
    return ImageChunk(image=Image.fromarray(part))


def _call_to_mistral(call: ToolCall) -> MistralToolCall:
    arguments = json.dumps(dict(call.arguments), ensure_ascii=False)
    return MistralToolCall(id=call.id, function=FunctionCall(name=call.name, arguments=arguments))


def to_mistral_tool(tool: Tool) -> MistralTool:
    function = Function(name=tool.name, description=tool.description, parameters=dict(tool.parameters), strict=True)
    return MistralTool(function=function)
