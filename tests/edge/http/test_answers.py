"""What a client is sent of an answer."""

from __future__ import annotations

from lineside.edge.http.answers import Completion
from lineside.runtime.assistant import Answer
from lineside.runtime.engine.engine import Engine
from lineside.runtime.timings import Counts, Timings


def test_a_thought_stands_beside_the_content(default_engine: Engine) -> None:
    for thought in ("", "Is it red?"):
        answer = Answer("Yes.", (), "stop", Timings(), Counts(), thought=thought)
        message = Completion(default_engine.bundle).whole(answer, ())["choices"][0]["message"]
        wanted = {"role": "assistant", "content": "Yes."}
        assert message == wanted | ({"reasoning_content": thought} if thought else {})
