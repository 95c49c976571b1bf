"""A call answers a question from the states that devices said; nothing is published and nothing is done."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence

from lineside.edge.calls.bindings import Done
from lineside.edge.calls.states import States
from lineside.edge.calls.watch import UNKNOWN
from lineside.edge.templates import FAILURES
from lineside.edge.tool_config import ToolConfig
from lineside.edge.tool_templates import OTHERS, OWN, query_template
from lineside.edge.topic_choice import topic_for
from lineside.edge.wire.messages import CallReport
from lineside.runtime.chat import ToolCall

MAX_TEXT_CHARACTERS = 1000


class QueryBinding:
    """Answers questions.

    Raises:
        ConfigError: a query's template makes no sense.
    """

    def __init__(self, tools: Mapping[str, ToolConfig], states: States) -> None:
        self._tools, self._states = tools, states
        self._queries = {name: query_template(name, tools) for name, tool in tools.items() if tool.query}

    def invoke(self, call: ToolCall, _tool: ToolConfig, waiting: Callable[[], None]) -> Done:
        """`achieved` with `{"text", "age_s", "retained"}`: how long ago the oldest state was heard that it stands on,
        and whether the broker had kept one, which may then be older."""
        waiting()
        query = self._queries[call.name]
        known = {}
        for needed in query.needs:
            state = self._states.known(needed, call.arguments)
            if state is None:
                return Done("failed", self._unknown(needed, call), code=UNKNOWN)
            known[needed] = state
        values = {name: state.value for name, state in known.items()}
        try:
            said = query.render({**call.arguments, OWN: values.get(call.name), OTHERS: values})
            text = said if isinstance(said, str) else json.dumps(said, ensure_ascii=False, allow_nan=False)
        except FAILURES as error:
            return Done("failed", f"the answer cannot be made: {error}")
        age_s = round(max(self._states.age_s(state) for state in known.values()), 1)
        retained = any(state.retained for state in known.values())
        return Done("achieved", "", {"text": text[:MAX_TEXT_CHARACTERS], "age_s": age_s, "retained": retained})

    def _unknown(self, needed: str, call: ToolCall) -> str:
        state = self._tools[needed].state
        topic = topic_for(state.topic, call.arguments) if state is not None else needed
        return f"the state is not known: {topic} has said nothing since the station connected"

    def close(self) -> None:
        """Nothing waits here."""


def answered(reports: Sequence[CallReport], tools: Mapping[str, ToolConfig]) -> str:
    """What the queries among these calls have answered, for the text of the reply; empty where there is none."""
    queries = {name for name, tool in tools.items() if tool.query}
    answers = [report.result for report in reports if report.name in queries and report.outcome == "achieved"]
    return " ".join(answer["text"] for answer in answers)
