"""`lineside` as it is, but for the model: `python -m tests.chaos.launcher run -c station.toml`.

The engine is opened like any other, and then not asked: each command calls the tool that it names, with its own text,
and each picture passes. `CHAOS_DECODE=0` leaves the decoding out, too. `CHAOS_CLOCK` names a file with the error of the
wall clock in seconds, which may change. `CHAOS_COST_S` is how long each picture takes, without work for the processor,
`CHAOS_BEGUN` a file that is made when the first is begun, and `CHAOS_WILL_S` how long the broker waits with the will.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lineside.edge import daemon
from lineside.edge.command_line.main import main
from lineside.edge.inspection import preparing
from lineside.edge.wire import mqtt
from lineside.runtime.assistant import Answer
from lineside.runtime.chat import Message, Picture, ToolCall
from lineside.runtime.commands import decide
from lineside.runtime.inspection.inspector import Inspector
from lineside.runtime.inspection.observation import Inspection
from lineside.runtime.text.tool_calls import new_call_id
from lineside.runtime.timings import Counts, Timings
from tests.chaos.clock import install

DECODE_VARIABLE, CLOCK_VARIABLE = "CHAOS_DECODE", "CHAOS_CLOCK"
COST_VARIABLE, BEGUN_VARIABLE, WILL_VARIABLE = "CHAOS_COST_S", "CHAOS_BEGUN", "CHAOS_WILL_S"
UNDECODED = np.zeros((960, 1280, 3), np.uint8)


def call_what_is_named(_engine: object, messages: Sequence[Message], *_more: object, **_options: object) -> Answer:
    """A command says `TOOL REQUEST`."""
    said = str(next(message.content[0] for message in messages if message.role == "user"))
    tool, _space, request = said.partition(" ")
    if messages[-1].role == "tool" or not request:
        return Answer("done", (), "stop", Timings(), Counts())
    return Answer("", (ToolCall(new_call_id(), tool, {"request": request}),), "stop", Timings(), Counts())


def let_pass(_inspector: Inspector, _picture: Picture, _request: object, *, max_side: int) -> Inspection:
    del max_side
    if os.environ.get(BEGUN_VARIABLE):
        Path(os.environ[BEGUN_VARIABLE]).touch()
    time.sleep(float(os.environ.get(COST_VARIABLE, "0")))
    return Inspection("pass", 1.0, 0.0, (), "stop", Timings(), Counts())


def leave_compressed(_data: bytes, _max_pixels: int) -> Picture:
    return UNDECODED


def replace_the_model() -> None:
    """And the clock, where a file is named for it. `daemon` has loaded all that tells the time."""
    assert daemon
    decide.ask = call_what_is_named  # type: ignore[assignment, attr-defined]
    Inspector.inspect = let_pass  # type: ignore[assignment, method-assign]
    if os.environ.get(DECODE_VARIABLE) == "0":
        preparing.decode_picture = leave_compressed  # type: ignore[assignment, attr-defined]
    if os.environ.get(WILL_VARIABLE):
        mqtt.WILL_DELAY_S = int(os.environ[WILL_VARIABLE])
    if os.environ.get(CLOCK_VARIABLE):
        install(Path(os.environ[CLOCK_VARIABLE]))


if __name__ == "__main__":
    replace_the_model()
    sys.exit(main())
