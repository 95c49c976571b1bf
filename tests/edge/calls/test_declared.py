"""The policy lets nothing through that is not declared."""

from __future__ import annotations

import pytest

from lineside.edge.calls.policy import Policy
from lineside.edge.errors import ConfigError, RequestError
from lineside.edge.tool_config import ToolConfig
from lineside.runtime.chat import ToolCall

PERCENT = {
    "type": "object",
    "properties": {"percent": {"type": "integer", "minimum": 0, "maximum": 100}},
    "required": ["percent"],
    "additionalProperties": False,
}


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
