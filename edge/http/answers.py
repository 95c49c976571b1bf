"""What a client is sent: OpenAI's `chat.completion`, and its pieces as server-sent events."""

from __future__ import annotations

import json
import time
from typing import Any
from uuid import uuid4

from lineside.runtime.assistant import Answer
from lineside.runtime.bundle import Bundle
from lineside.runtime.chat import ToolCall

DONE = "data: [DONE]\n\n"
CUT_OFF = ("length", "deadline", "repetition")
Fields = dict[str, Any]


class Completion:
    """One completion: its id, its time, and the model by its true name."""

    def __init__(self, bundle: Bundle) -> None:
        self._head: Fields = {
            "id": f"chatcmpl-{uuid4().hex}",
            "created": int(time.time()),
            "model": bundle.manifest.name,
            "system_fingerprint": f"fp_{bundle.sha256[:12]}",
        }

    def whole(self, answer: Answer, calls: tuple[ToolCall, ...]) -> Fields:
        message: Fields = {"role": "assistant", "content": answer.text if answer.text or not calls else None}
        if answer.thought:
            message["reasoning_content"] = answer.thought
        if calls:
            message["tool_calls"] = [wire_call(call) for call in calls]
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish_reason(answer, calls)}
        return {**self._head, "object": "chat.completion", "choices": [choice], "usage": usage(answer)}

    def piece(self, delta: Fields, finished: str | None = None) -> str:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finished}
        return event({**self._head, "object": "chat.completion.chunk", "choices": [choice]})

    def calls(self, calls: tuple[ToolCall, ...]) -> str:
        """Each call is whole: half of one could be carried out by mistake."""
        return self.piece({"tool_calls": [{"index": index, **wire_call(call)} for index, call in enumerate(calls)]})

    def used(self, answer: Answer) -> str:
        return event({**self._head, "object": "chat.completion.chunk", "choices": [], "usage": usage(answer)})


def event(body: Fields) -> str:
    return f"data: {json.dumps(body, ensure_ascii=False)}\n\n"


def wire_call(call: ToolCall) -> Fields:
    arguments = json.dumps(dict(call.arguments), ensure_ascii=False)
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": arguments}}


def usage(answer: Answer) -> Fields:
    counts = answer.counts
    return {
        "prompt_tokens": counts.prompt,
        "completion_tokens": counts.generated,
        "total_tokens": counts.prompt + counts.generated,
        "prompt_tokens_details": {"cached_tokens": counts.reused},
    }


def finish_reason(answer: Answer, calls: tuple[ToolCall, ...]) -> str:
    """`length` where the answer was cut off, whatever for."""
    if calls:
        return "tool_calls"
    return "length" if answer.finish_reason in CUT_OFF else "stop"
