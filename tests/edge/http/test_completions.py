"""`/v1` with OpenAI's own client, and with the requests of Frigate and LLM Vision."""

from __future__ import annotations

import base64
import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from jsonschema import validate
from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolParam

from lineside.edge.http import conversation
from lineside.edge.http.conversation import call_id
from lineside.edge.models import NoModel
from lineside.runtime.assistant import ask
from lineside.runtime.chat import Message
from lineside.runtime.engine.engine import Engine
from lineside.runtime.engine.sampling import GREEDY
from lineside.runtime.errors import BundleDamaged
from lineside.runtime.picture import decode_picture
from tests.support.served import KEY, Station, one_model, served
from tests.support.station import SPEED

HELLO: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Hello"}]
BELT: list[ChatCompletionMessageParam] = [
    {"role": "system", "content": "You control a production line. Call a function, or say that none fits."},
    {"role": "user", "content": "set the belt to half speed"},
]
SET_SPEED = "Set the speed of the belt in percent."
TOOLS: list[ChatCompletionToolParam] = [
    {"type": "function", "function": {"name": "set_belt_speed", "description": SET_SPEED, "parameters": SPEED}},
    {"type": "function", "function": {"name": "stop_line", "description": "Stop the line."}},
]
SCHEMA = {
    "type": "object",
    "properties": {"threat": {"enum": [0, 1, 2]}, "person": {"type": "boolean"}},
    "required": ["threat", "person"],
    "additionalProperties": False,
}
FORMAT: Any = {"type": "json_schema", "json_schema": {"name": "review", "strict": True, "schema": SCHEMA}}


@pytest.fixture(scope="module")
def station(random_engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Station]:
    with served(one_model(random_engine), tmp_path_factory.mktemp("served")) as station:
        yield station


@pytest.fixture(scope="module")
def client(station: Station) -> openai.OpenAI:
    return station.client()


@pytest.fixture(scope="module")
def line(default_engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[openai.OpenAI]:
    """A client of the default model, which calls functions and does not converse."""
    with served(one_model(default_engine), tmp_path_factory.mktemp("line")) as station:
        yield station.client()


@pytest.fixture
def jpeg(pictures: list[Path]) -> str:
    return base64.b64encode(pictures[0].read_bytes()).decode()


def test_the_models_that_run_are_listed(client: openai.OpenAI, random_engine: Engine) -> None:
    (model,) = client.models.list().data
    assert model.id == random_engine.bundle.manifest.name
    assert model.model_dump()["max_model_len"] == random_engine.capacity
    assert client.models.retrieve(model.id) == model
    with pytest.raises(openai.NotFoundError, match="no model 'gpt-4o'"):
        client.models.retrieve("gpt-4o")


def test_any_model_s_name_is_answered_by_the_station_s_own(client: openai.OpenAI, random_engine: Engine) -> None:
    given = client.chat.completions.create(model="gpt-4o-mini", messages=HELLO, max_tokens=12)
    expected = ask(random_engine, [Message("user", ("Hello",))], max_tokens=12, sampling=GREEDY)
    assert given.model == random_engine.bundle.manifest.name
    assert given.choices[0].message.content == expected.text
    assert given.choices[0].finish_reason == "length"
    assert given.usage is not None
    assert (given.usage.prompt_tokens, given.usage.completion_tokens) == (expected.counts.prompt, 12)
    assert given.usage.total_tokens == expected.counts.prompt + 12


def test_a_stream_has_the_same_text_and_ends_with_what_it_took(client: openai.OpenAI) -> None:
    whole = client.chat.completions.create(model="", messages=HELLO)
    *pieces, last, used = client.chat.completions.create(
        model="", messages=HELLO, stream=True, stream_options={"include_usage": True}
    )
    text = "".join(piece.choices[0].delta.content or "" for piece in pieces)
    assert text.strip() == whole.choices[0].message.content
    assert len(pieces) > 5
    assert last.choices[0].finish_reason == whole.choices[0].finish_reason
    assert used.choices == []
    assert used.usage is not None
    assert whole.usage is not None
    assert used.usage.completion_tokens == whole.usage.completion_tokens


def test_the_model_s_calls_go_to_the_client(line: openai.OpenAI) -> None:
    whole = line.chat.completions.create(model="", messages=BELT, tools=TOOLS)
    assert whole.choices[0].finish_reason == "tool_calls"
    assert whole.choices[0].message.content is None
    (call,) = whole.choices[0].message.tool_calls or []
    assert call.type == "function"
    assert (call.function.name, json.loads(call.function.arguments)) == ("set_belt_speed", {"percent": 50})

    streamed = list(line.chat.completions.create(model="", messages=BELT, tools=TOOLS, stream=True))
    (delta,) = [piece.choices[0].delta for piece in streamed if piece.choices[0].delta.tool_calls]
    (part,) = delta.tool_calls or []
    assert part.function is not None
    assert json.loads(part.function.arguments or "") == {"percent": 50}
    assert streamed[-1].choices[0].finish_reason == "tool_calls"

    result: ChatCompletionMessageParam = {"role": "tool", "tool_call_id": call.id, "content": '{"ok": true}'}
    said: Any = {"role": "assistant", "tool_calls": [call.model_dump()]}
    after = line.chat.completions.create(model="", messages=[*BELT, said, result], tools=TOOLS)
    assert after.usage is not None
    assert whole.usage is not None
    assert after.usage.prompt_tokens > whole.usage.prompt_tokens


def test_a_call_can_be_asked_for_by_name(line: openai.OpenAI) -> None:
    for choice, name in (("required", "set_belt_speed"), ({"type": "function", "function": {"name": "stop_line"}}, "")):
        options: Any = {"tool_choice": choice}
        given = line.chat.completions.create(model="", messages=BELT, tools=TOOLS, **options)
        (call,) = given.choices[0].message.tool_calls or []
        assert call.type == "function"
        assert call.function.name == (name or "stop_line")
    unknown: Any = {"type": "function", "function": {"name": "jump"}}
    with pytest.raises(openai.BadRequestError, match="'jump' is not among the tools"):
        line.chat.completions.create(model="", messages=BELT, tools=TOOLS, tool_choice=unknown)


def test_ids_of_other_makers_calls_are_taken() -> None:
    assert call_id("abc123DEF") == "abc123DEF"
    assert len(call_id("call_5f1c0b7e")) == 9
    assert call_id("call_5f1c0b7e") == call_id("call_5f1c0b7e") != call_id("call_5f1c0b7f")


def test_free_text_of_a_model_that_was_not_taught_it_is_refused(line: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="was not taught to converse") as refused:
        line.chat.completions.create(model="", messages=HELLO)
    assert refused.value.code == "not_taught"
    with pytest.raises(openai.BadRequestError, match="was not taught to converse"):  # before a stream begins
        line.chat.completions.create(model="", messages=HELLO, stream=True)


def test_json_is_json(client: openai.OpenAI) -> None:
    given = client.chat.completions.create(model="", messages=HELLO, response_format=FORMAT)
    validate(json.loads(given.choices[0].message.content or ""), SCHEMA)
    *_, last = client.chat.completions.create(
        model="", messages=HELLO, response_format={"type": "json_object"}, max_tokens=4, stream=True
    )
    assert last.choices[0].finish_reason == "length"
    refused: Any = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object", "not": {}}}}
    with pytest.raises(openai.BadRequestError, match="#/not") as error:
        client.chat.completions.create(model="", messages=HELLO, response_format=refused)
    assert error.value.code == "schema_unsupported"


def test_frigate_describes_a_review_item(client: openai.OpenAI, station: Station, jpeg: str) -> None:
    """The prompt first, then a caption and a picture each; a schema; the model's length from the list."""
    (model,) = client.models.list().data
    content: Any = [{"type": "text", "text": "Describe what happens."}]
    for caption in ("Frame 1", "Frame 2"):
        url = {"url": f"data:image/jpeg;base64,{jpeg}", "detail": "low"}
        content += [{"type": "text", "text": caption}, {"type": "image_url", "image_url": url}]
    given = client.chat.completions.create(
        model=model.id, messages=[{"role": "user", "content": content}], timeout=60, response_format=FORMAT
    )
    validate(json.loads((given.choices[0].message.content or "").strip()), SCHEMA)
    assert "200" in station.statuses()


def test_llm_vision_describes_pictures(station: Station, random_engine: Engine, jpeg: str) -> None:
    """A tag before each picture, the message last, and a model that is not here."""
    content: list[Any] = []
    for tag in ("Image 1", "Front door"):
        url = {"url": f"data:image/jpeg;base64,{jpeg}", "detail": "high"}
        content += [{"type": "text", "text": f"{tag}:"}, {"type": "image_url", "image_url": url}]
    content.append({"type": "text", "text": "Who is there?"})
    body = {"messages": [{"role": "user", "content": content}], "max_tokens": 8, "temperature": 0.0}
    asked = urllib.request.Request(
        f"{station.url}/v1/chat/completions",
        json.dumps({"model": "gpt-4o-mini", **body}).encode(),
        {"Content-type": "application/json", "Authorization": f"Bearer {KEY}"},
    )
    with urllib.request.urlopen(asked, timeout=60) as response:
        text = json.load(response)["choices"][0]["message"]["content"]
    picture = decode_picture(base64.b64decode(jpeg))
    message = Message("user", ("Image 1:", picture, "Front door:", picture, "Who is there?"))
    assert text == ask(random_engine, [message], max_tokens=8, sampling=GREEDY).text


def test_low_detail_is_fewer_pixels(client: openai.OpenAI, jpeg: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversation, "LOW_DETAIL", 28)
    tokens = []
    for detail in ("low", "high"):
        url = {"url": f"data:image/jpeg;base64,{jpeg}", "detail": detail}
        messages: Any = [{"role": "user", "content": [{"type": "image_url", "image_url": url}]}]
        given = client.chat.completions.create(model="", messages=messages, max_tokens=1)
        assert given.usage is not None
        tokens.append(given.usage.prompt_tokens)
    assert tokens[0] < tokens[1]


PNG = "data:image/png;base64,"


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("https://example.com/part.jpg", "picture_not_inline"),
        ("file:///etc/passwd", "picture_not_inline"),
        (f"{PNG}no base64!", "picture_undecodable"),
        (f"{PNG}bm8gcGljdHVyZQ==", "picture_undecodable"),
        (PNG, "picture_undecodable"),
    ],
)
def test_a_picture_that_cannot_be_used_is_named(client: openai.OpenAI, url: str, code: str) -> None:
    content: Any = ["What is this?", {"type": "image_url", "image_url": {"url": url}}]
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(model="", messages=[*HELLO, {"role": "user", "content": content}])
    assert (refused.value.code, refused.value.param) == (code, "messages.1")


def test_pictures_share_their_pixels(random_engine: Engine, tmp_path: Path, jpeg: str) -> None:
    with served(one_model(random_engine), tmp_path) as station:
        object.__setattr__(station.config.inspect, "max_pixels", 400_000)  # one of them has 320,000 or so
        picture = {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{jpeg}"}}
        messages: Any = [{"role": "user", "content": [picture] * 12}]
        with pytest.raises(openai.BadRequestError, match=r"more than 0\.4 megapixels together"):
            station.client().chat.completions.create(model="", messages=messages)


@pytest.mark.parametrize(
    ("changes", "param", "said"),
    [
        ({"messages": []}, "messages", "at least 1"),
        ({"messages": [{"role": "owner", "content": "Hi"}]}, "messages", "`messages.0.role`"),
        ({"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}, "messages", "`messages.0.content.0`"),
        ({"temperature": -1}, "temperature", "greater than or equal to 0"),
        ({"n": 2}, "n", "less than or equal to 1"),
        ({"stop": ["\n"]}, "stop", "not supported"),
        ({"logprobs": True}, "logprobs", "not supported"),
        ({"response_format": {"type": "json_schema"}}, "response_format", "is missing"),
        ({"response_format": {"type": "json_object"}, "tools": TOOLS}, "response_format", "beside `tools`"),
        ({"max_tokens": 0}, "max_tokens", "greater than or equal to 1"),
        ({"messages": [{"role": "user", "content": "word " * 2000}]}, "messages", "the context holds"),
        ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, None, "Function name was a b"),
    ],
)
def test_what_cannot_be_answered_is_named(
    client: openai.OpenAI, changes: dict[str, Any], param: str | None, said: str
) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(**{"model": "", "messages": HELLO, **changes})
    assert refused.value.param == param
    assert said in str(refused.value)
    assert refused.value.type == "invalid_request_error"


def test_without_a_model_it_says_so(tmp_path: Path) -> None:
    missing = NoModel("commands", tmp_path, BundleDamaged("decoder.data is damaged"))
    with served(one_model(missing), tmp_path) as station:
        assert station.client().models.list().data == []
        with pytest.raises(openai.InternalServerError, match=r"decoder\.data is damaged") as refused:
            station.client().chat.completions.create(model="", messages=HELLO)
        assert (refused.value.status_code, refused.value.code) == (503, "no_model")
