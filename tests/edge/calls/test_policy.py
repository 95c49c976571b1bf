"""What a station file allows, and what nothing can talk it out of."""

from __future__ import annotations

from datetime import datetime
from datetime import time as datetime_time
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineside.edge.calls.policy import Policy
from lineside.edge.errors import ConfigError, RequestError
from lineside.edge.quiet_hours import parse_quiet_hours
from lineside.edge.tool_config import RateLimit, ToolConfig
from lineside.runtime.chat import ToolCall
from tests.support.station import SPEED


def refused(policy: Policy, **arguments: Any) -> str:
    """Why `tool` may not be called now; empty where it may."""
    try:
        policy.admit(ToolCall("abc123DEF", "tool", arguments))
    except RequestError as error:
        return error.code
    return ""


class Stopwatch:
    """Stands still until a test moves it."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


def policy(clock: float = 0.0, zone: str = "UTC", stopwatch: Stopwatch | None = None, **settings: Any) -> Policy:
    tools = {"tool": ToolConfig("A tool.", SPEED, **settings)}
    return Policy(tools, zone, lambda: clock, stopwatch or Stopwatch())


def test_limits_are_tighter_than_the_schema_and_name_the_argument() -> None:
    limited = policy(limits={"percent": {"maximum": 60, "not": {"const": 13}}})
    assert refused(limited, percent=60) == ""
    assert refused(limited, percent=61) == "over_limit"
    assert refused(limited, percent=13) == "over_limit"
    assert refused(limited, percent=101) == "bad_arguments"
    with pytest.raises(RequestError, match=r"\$\.percent: 61 is greater than the maximum of 60"):
        limited.check(ToolCall("abc123DEF", "tool", {"percent": 61}))
    assert limited.offered()[0].parameters == SPEED


@given(st.integers(-50, 200))
def test_a_range_holds_for_every_value(percent: int) -> None:
    assert (refused(policy(limits={"percent": {"minimum": 10, "maximum": 60}}), percent=percent) == "") == (
        10 <= percent <= 60
    )


def test_a_cool_down_ends() -> None:
    watch = Stopwatch()
    cooled = policy(stopwatch=watch, cool_down_s=30)
    assert refused(cooled, percent=5) == ""
    for seconds, code in ((0, "cool_down"), (29.9, "cool_down"), (0.1, "")):
        watch.seconds += seconds
        assert refused(cooled, percent=5) == code
    with pytest.raises(RequestError, match=r"again in 30\.0 s"):
        cooled.check(ToolCall("abc123DEF", "tool", {"percent": 5}))


def test_a_cool_down_begins_with_the_latest_call() -> None:
    """Also where a rate makes the policy remember earlier ones."""
    watch = Stopwatch()
    cooled = policy(stopwatch=watch, cool_down_s=30, rate_limit=RateLimit(3, 1000))
    assert refused(cooled, percent=5) == ""
    watch.seconds += 31
    assert refused(cooled, percent=5) == ""
    watch.seconds += 29
    assert refused(cooled, percent=5) == "cool_down"
    watch.seconds += 1
    assert refused(cooled, percent=5) == ""


@given(st.lists(st.integers(1, 30), min_size=10, max_size=60))
def test_a_rate_is_kept_in_every_stretch_of_time(pauses: list[int]) -> None:
    """Whenever calls are wished for, no stretch of 40 s has more than three that passed; and a fourth is refused only
    where it would be in one.
    """
    watch = Stopwatch()
    paced = policy(stopwatch=watch, rate_limit=RateLimit(3, 40))
    passed: list[float] = []
    for pause in pauses:
        watch.seconds += pause
        before = [moment for moment in passed if watch.seconds - moment < 40]
        code = refused(paced, percent=5)
        assert code == ("rate_limit" if len(before) == 3 else "")
        if not code:
            passed.append(watch.seconds)


def test_a_call_that_is_taken_back_does_not_count() -> None:
    watch = Stopwatch()
    paced = policy(stopwatch=watch, rate_limit=RateLimit(2, 60), cool_down_s=5)
    for _ in range(2):
        assert refused(paced, percent=5) == ""
        watch.seconds += 10
    watch.seconds += 45  # the first is 65 s ago, the second 55
    assert refused(paced, percent=5) == ""
    paced.take_back("tool")
    assert refused(paced, percent=5) == ""
    watch.seconds += 4
    assert refused(paced, percent=5) == "cool_down"
    watch.seconds += 2
    assert refused(paced, percent=5) == ""


def test_a_refused_call_does_not_count() -> None:
    paced = policy(rate_limit=RateLimit(1, 60), limits={"percent": {"maximum": 10}})
    assert refused(paced, percent=50) == "over_limit"
    assert refused(paced, percent=5) == ""
    assert refused(paced, percent=5) == "rate_limit"


def test_what_passed_before_a_restart_still_counts() -> None:
    watch = Stopwatch()
    paced = policy(stopwatch=watch, cool_down_s=60)
    paced.remember("tool", seconds_ago=-1000.0)  # the clock was set back meanwhile
    paced.remember("a tool that is gone", 1.0)
    assert refused(paced, percent=5) == "cool_down"
    watch.seconds += 60
    assert refused(paced, percent=5) == ""
    old = policy(cool_down_s=60)
    old.remember("tool", seconds_ago=61.0)
    assert refused(old, percent=5) == ""
    young = policy(cool_down_s=60)
    young.remember("tool", seconds_ago=59.0)
    assert refused(young, percent=5) == "cool_down"


@pytest.mark.parametrize(
    ("hour", "quiet"),
    [("21:59", False), ("22:00", True), ("23:30", True), ("00:00", True), ("05:59", True), ("06:00", False)],
)
@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "UTC"])
def test_quiet_hours_over_midnight_in_the_stations_own_time(hour: str, quiet: bool, zone: str) -> None:
    moment = datetime.fromisoformat(f"2026-07-01T{hour}:00").replace(tzinfo=ZoneInfo(zone)).timestamp()
    assert (refused(policy(moment, zone, quiet_hours=("22:00-06:00",)), percent=5) == "quiet_hours") == quiet


@pytest.mark.parametrize(("hour", "quiet"), [(11, False), (12, True), (13, True), (14, False)])
def test_quiet_hours_within_a_day(hour: int, quiet: bool) -> None:
    span = parse_quiet_hours("12:00-13:30", "key")
    assert span.contains(datetime_time(hour)) == quiet


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"quiet_hours": ("22-6",)}, r"`tools\.tool\.quiet_hours`: '22-6' is not a span"),
        ({"quiet_hours": ("24:00-06:00",)}, "is not a span"),
        ({"quiet_hours": ("06:00-06:00",)}, "is not a span"),
        (
            {"limits": {"speed": {"maximum": 5}}},
            r"`tools\.tool\.limits\.speed`: tool has no argument",
        ),
        ({"limits": {"percent": {"max": 60}}}, r"`tools\.tool\.limits\.percent\.max`: `max` is not a keyword"),
        ({"limits": {"percent": {"maxLength": 2}}}, r"`maxLength` says nothing about a integer"),
        ({"limits": {"percent": {"format": "time"}}}, r"`format` is not a keyword that can be enforced"),
        ({"limits": {"percent": {"$ref": "#/$defs/q"}}}, r"\$ref"),
        ({"limits": {"percent": {"not": {"maximun": 5}}}}, r"percent\.not\.maximun"),
        ({"limits": {"percent": {"maximum": "five"}}}, r"`tools\.tool\.limits\.percent` is not a JSON Schema"),
    ],
)
def test_a_policy_that_makes_no_sense_names_the_key(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        policy(**settings)


def test_an_unknown_time_zone_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"`station\.timezone`: 'Mars/Olympus'"):
        policy(zone="Mars/Olympus")
