"""Packs: several answers behind one another, each as it would stand alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from lineside.export.default_model.data import commands
from lineside.export.default_model.data.pack import IGNORE
from lineside.export.default_model.data.packs import Line, Packer
from lineside.runtime.chat import ToolCall
from lineside.runtime.text.tokenizer import Tokenizer
from lineside.runtime.text.tool_calls import parse_tool_calls


def test_a_command_in_a_pack_stands_as_it_would_alone(tokenizer: Tokenizer, spoken: Path) -> None:
    """Same ids at the same positions as a prompt of its own, and it sees nothing of its neighbours."""
    packer = Packer(spoken, tokenizer)
    tools = [commands.TOOLS["set_light"], commands.TOOLS["stop_line"]]
    call = ToolCall(commands.CALL_ID, "set_light", {"percent": 40})
    lines = [Line("stop", ()), Line("dim the light to 40%", (call,))]
    pack = packer.pack(commands.SYSTEM_TEXT, tools, lines)
    for number, line in enumerate(lines):
        own = (pack.owner == number) | (pack.owner == -1)
        prompt = tokenizer.encode_chat(commands.command_messages(line.text), tools).ids
        ids = pack.ids[own]
        np.testing.assert_array_equal(ids[: len(prompt)], prompt)
        np.testing.assert_array_equal(pack.positions[own], np.arange(own.sum()))
        labels = pack.labels[own]
        at = np.flatnonzero(labels != IGNORE)
        np.testing.assert_array_equal(ids[at + 1], labels[at])
        assert at[0] == len(prompt) - 1
        _, calls = parse_tool_calls(tokenizer, labels[at].tolist())
        assert [(c.name, c.arguments) for c in calls] == [(c.name, c.arguments) for c in line.calls]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6))
def test_packs_are_whole(tokenizer: Tokenizer, spoken: Path, seed: int) -> None:
    pack = Packer(spoken, tokenizer).draw(np.random.default_rng(seed))
    assert len({len(column) for column in (pack.ids, pack.labels, pack.positions, pack.weights, pack.owner)}) == 1
    assert set(pack.owner) == set(range(-1, pack.owner.max() + 1))
    assert ((pack.weights > 0) == (pack.labels != IGNORE)).all()
