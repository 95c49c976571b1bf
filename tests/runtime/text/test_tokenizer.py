"""Token ids and pixels against mistral-common, for every instruction format."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mistral_common.protocol.instruct.chunk import ImageChunk, TextChunk
from mistral_common.protocol.instruct.messages import AssistantMessage, SystemMessage, ToolMessage, UserMessage
from mistral_common.protocol.instruct.request import ChatCompletionRequest
from mistral_common.protocol.instruct.tool_calls import Function, FunctionCall
from mistral_common.protocol.instruct.tool_calls import Tool as MistralTool
from mistral_common.protocol.instruct.tool_calls import ToolCall as MistralToolCall
from mistral_common.tokens.tokenizers.mistral import MistralTokenizer
from PIL import Image

from lineside.runtime.chat import Message, Role, Tool, ToolCall
from lineside.runtime.errors import MessageError
from lineside.runtime.picture import decode_picture
from lineside.runtime.text.tokenizer import Tokenizer
from tests.support.tokenizers import write_small_tokenizer

VERSIONS = ("v3", "v7", "v11", "v13")
PARAMETERS = {"type": "object", "properties": {"percent": {"type": "integer"}}, "required": ["percent"]}


@pytest.fixture(params=VERSIONS)
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    target = tmp_path / "tekken.json"
    write_small_tokenizer(target, request.param)
    return target


def test_conversation_matches_mistral_common(path: Path, pictures: list[Path]) -> None:
    data = pictures[0].read_bytes()
    arguments = {"percent": 50, "unit": "größe"}
    ours = Tokenizer(path).encode_chat(
        [
            Message("system", ("You watch the line.",)),
            Message("user", ("Look at this:", decode_picture(data), "and slow the belt down.")),
            Message("assistant", (), (ToolCall("abcDEF123", "set_belt_speed", arguments),)),
            Message("tool", ('{"outcome": "achieved"}',), tool_call_id="abcDEF123"),
            Message("assistant", ("Done.",)),
            Message("user", ("And now?",)),
        ],
        [Tool("set_belt_speed", "Set the speed.", PARAMETERS)],
    )
    theirs = _reference(path, Image.open(io.BytesIO(data)), arguments)
    np.testing.assert_array_equal(ours.ids, theirs.tokens)
    assert len(ours.pixels) == 1
    np.testing.assert_array_equal(ours.pixels[0], theirs.images[0])
    assert ours.pixels[0].dtype == np.float32


@pytest.mark.parametrize("role", ["system", "developer", "assistant", "tool"])
def test_a_picture_belongs_to_the_user(role: Role, path: Path) -> None:
    """It was dropped without a word."""
    picture = np.zeros((28, 28, 3), np.uint8)
    messages = [Message("user", ("Look.",)), Message(role, ("This:", picture)), Message("user", ("And?",))]
    with pytest.raises(MessageError, match=rf"'{role}' has text only"):
        Tokenizer(path).encode_chat(messages)


def test_a_developer_is_the_system(path: Path) -> None:
    """It became the assistant's turn."""
    tokenizer = Tokenizer(path)
    found, wanted = (
        tokenizer.encode_chat([Message(role, ("You watch the line.",)), Message("user", ("Hello.",))]).ids
        for role in ("developer", "system")
    )
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (Message("critic", ("No.",)), "role 'critic' is not known; there are system, developer, user"),  # type: ignore[arg-type]
        (Message("user", (b"No.",)), "not bytes"),  # type: ignore[arg-type]
        (Message("user", (None,)), "not NoneType"),  # type: ignore[arg-type]
    ],
)
def test_what_is_no_message_is_refused_by_name(message: Message, said: str, path: Path) -> None:
    with pytest.raises(MessageError, match=said):
        Tokenizer(path).encode_chat([message])


def _reference(path: Path, image: Image.Image, arguments: dict[str, Any]) -> Any:
    import json

    call = MistralToolCall(
        id="abcDEF123",
        function=FunctionCall(name="set_belt_speed", arguments=json.dumps(arguments, ensure_ascii=False)),
    )
    parts = [TextChunk(text="Look at this:"), ImageChunk(image=image), TextChunk(text="and slow the belt down.")]
    request: ChatCompletionRequest[Any] = ChatCompletionRequest(
        model="test",
        messages=[
            SystemMessage(content="You watch the line."),
            UserMessage(content=parts),
            AssistantMessage(content=None, tool_calls=[call]),
            ToolMessage(content='{"outcome": "achieved"}', tool_call_id="abcDEF123"),
            AssistantMessage(content="Done."),
            UserMessage(content="And now?"),
        ],
        tools=[
            MistralTool(
                function=Function(
                    name="set_belt_speed", description="Set the speed.", parameters=PARAMETERS, strict=True
                )
            )
        ],
    )
    return MistralTokenizer.from_file(str(path)).encode_chat_completion(request)


def test_picture_tokens_fill_rows(path: Path) -> None:
    """200 x 90 pixels are 8 x 4 blocks of 28: each row ends with a break, the last with an end."""
    tokenizer = Tokenizer(path)
    prompt = tokenizer.encode_chat([Message("user", (np.zeros((90, 200, 3), np.uint8), "Look."))])
    image, row_break, end = (tokenizer.special_id(name) for name in ("[IMG]", "[IMG_BREAK]", "[IMG_END]"))
    ids = prompt.ids.tolist()
    assert (ids.count(image), ids.count(row_break), ids.count(end)) == (32, 3, 1)
    assert prompt.pixels[0].shape == (3, 112, 224)
