"""Small parts of the daemon: topics, mailbox, policy, command parsing, evidence."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineside.devices.cameras.frame import Frame
from lineside.edge.calls.policy import Policy
from lineside.edge.commands.body import parse_ask
from lineside.edge.errors import ConfigError, RequestError
from lineside.edge.frames.mailbox import Mailbox, Work
from lineside.edge.inspection.evidence import BANNER_PX, draw, encode_jpeg
from lineside.edge.tool_config import ToolConfig
from lineside.edge.wire.topics import Topics
from lineside.runtime.chat import ToolCall
from lineside.runtime.inspection.observation import Inspection
from lineside.runtime.inspection.verdict import Defect
from lineside.runtime.picture import decode_picture
from lineside.runtime.timings import Counts, Timings
from tests.support.wait import LIMIT_S

PERCENT = {
    "type": "object",
    "properties": {"percent": {"type": "integer", "minimum": 0, "maximum": 100}},
    "required": ["percent"],
    "additionalProperties": False,
}


@pytest.mark.parametrize("base", ["lineside/a", "acme/plant1/pack/line3/cell2"])
def test_topics_round_trip(base: str) -> None:
    topics = Topics(base)
    assert topics.parse(topics.frame("cam0")) == ("frame", "cam0")
    assert topics.parse(topics.command("ask")) == ("cmd", "ask")
    assert topics.parse(topics.returned("stop")) == ("ret", "stop")
    for other in (topics.result("cam0"), f"{base}/cmd", f"{base}/cmd/", f"{base}/cmd/a/b", "elsewhere/cmd/ask"):
        assert topics.parse(other) is None


def test_the_newest_streamed_frame_wins_and_triggered_ones_take_turns_with_it() -> None:
    box = Mailbox()
    done: list[str] = []

    def work(name: str) -> Work:
        return Work(Frame("cam", name=name), lambda: done.append(name))

    assert box.put_latest(work("older")) is None
    assert box.put_latest(work("old")) is None, "kept in case the newer one cannot be decoded"
    given_up = box.put_latest(work("new"))
    assert given_up is not None
    assert given_up.frame.name == "older"
    assert done == []
    box.put_triggered(work("t1"))
    box.put_triggered(work("t2"))
    taken = [item.frame.name for item in (box.get(), box.get(), box.get()) if item is not None]
    assert taken == ["new", "t1", "t2"]


def test_no_camera_starves_another() -> None:
    """One sends forty frames that must be answered, two others a stream: each stream has its turn after one of them."""
    box = Mailbox()
    for number in range(40):
        box.put_triggered(Work(Frame("trigger", name=str(number))))
    seen = []
    for _ in range(12):
        for camera in ("left", "right"):
            box.put_latest(Work(Frame(camera)))
        work = box.get()
        assert work is not None
        seen.append(work.frame.camera)
    assert seen == ["trigger", "left", "right"] * 4


def test_a_bad_frame_does_not_push_a_good_one_out() -> None:
    box = Mailbox()
    for name in ("good", "bad"):
        box.put_latest(Work(Frame("cam", name=name)))
    newest = box.get()
    assert newest is not None
    assert newest.before is not None
    assert newest.before.frame.name == "good"


def test_closing_the_mailbox_ends_the_wait() -> None:
    box = Mailbox()
    taken: list[Work | None] = []
    waiting = threading.Thread(target=lambda: taken.append(box.get()))
    waiting.start()
    box.close()
    waiting.join(LIMIT_S)
    assert taken == [None]


def test_policy_lets_through_only_what_is_declared() -> None:
    policy = Policy({"speed": ToolConfig("Speed.", PERCENT), "stop": ToolConfig("Stop.", allowed=False)})
    assert policy.check(ToolCall("a", "speed", {"percent": 5})).description == "Speed."
    for call, code in (
        (ToolCall("a", "explode", {}), "unknown_tool"),
        (ToolCall("a", "stop", {}), "not_allowed"),
        (ToolCall("a", "speed", {"percent": 101}), "bad_arguments"),
        (ToolCall("a", "speed", {"percent": "5"}), "bad_arguments"),
        (ToolCall("a", "speed", {}), "bad_arguments"),
        (ToolCall("a", "speed", {"percent": 5, "force": True}), "bad_arguments"),
    ):
        with pytest.raises(RequestError) as caught:
            policy.check(call)
        assert caught.value.code == code


@pytest.mark.parametrize("parameters", [{"type": "strange"}, {"type": "array"}, {}])
def test_a_tool_that_is_no_schema_is_found_at_start(parameters: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=r"tools\.speed\.parameters"):
        Policy({"speed": ToolConfig("Speed.", parameters)})


@pytest.mark.parametrize(
    ("payload", "text"),
    [
        (b"stop", "stop"),
        ("Stoppe das Förderband".encode(), "Stoppe das Förderband"),
        (b'{"text": "stop", "transaction": "7"}', "stop"),
    ],
)
def test_commands_are_json_or_text(payload: bytes, text: str) -> None:
    assert parse_ask(payload).text == text


@pytest.mark.parametrize("payload", [b"", b"  \n", b"\xff\xfe\x00", b"a\x00b", b'{"txt": "stop"}', b'{"text": ""}',
                                     b'{"text": 5}', b'{"text": "x", "max_tokens": 0}'])  # fmt: skip
def test_malformed_commands(payload: bytes) -> None:
    with pytest.raises(RequestError) as caught:
        parse_ask(payload)
    assert caught.value.code == "malformed"


@given(st.binary(max_size=100))
def test_any_bytes_are_a_command_or_malformed(payload: bytes) -> None:
    try:
        text = parse_ask(payload).text
    except RequestError as error:
        text = error.code
    assert text


def test_a_deeply_nested_body_is_no_crash() -> None:
    for payload in (b'{"text":' + b"[" * 60_000, b"[" * 5_000):
        with pytest.raises(RequestError):
            parse_ask(payload)


def test_evidence_shows_the_boxes() -> None:
    picture = np.full((80, 120, 3), 30, np.uint8)
    inspection = Inspection(
        "fail", 0.9, 0.9, (Defect("pitting", (20.0, 30.0, 60.0, 70.0)),), "stop", Timings(), Counts()
    )
    drawn = draw(picture, inspection)
    assert drawn.shape == (80 + BANNER_PX, 120, 3)
    red = (drawn[BANNER_PX:, :, 0] > 150) & (drawn[BANNER_PX:, :, 1] < 100)
    rows, columns = np.nonzero(red)
    assert abs(columns.max() - 60) <= 2
    assert abs(rows.max() - 70) <= 2
    assert (picture == 30).all()
    assert decode_picture(encode_jpeg(drawn)).shape == drawn.shape
