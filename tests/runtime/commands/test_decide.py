"""Which tools the model is shown, and that what it may not do is not done: with the default model."""

from __future__ import annotations

from lineside.runtime.chat import Message
from lineside.runtime.commands.decide import MIN_ROOM, Ask, Decider
from lineside.runtime.commands.declared import Declared
from lineside.runtime.commands.heard import hear
from lineside.runtime.engine.engine import Engine
from lineside.runtime.engine.sampling import GREEDY
from tests.runtime.commands.stations import PERCENT, TOOLS, tool


def test_more_tools_than_fit_a_prompt(default_engine: Engine) -> None:
    """The best few by words are shown, in the order of the station, and one that is named, whatever the words."""
    many = [Declared(tool(f"set_valve_{number}", f"Open valve {number}.", percent=PERCENT)) for number in range(60)]
    decider = Decider(default_engine, [*many, *TOOLS])
    text = "set the speed of the belt to 50 percent"
    messages, ranking = [Message("user", (text,))], decider.rank(hear(text))
    offered = decider.offer(messages, ranking)
    names = [one.name for one in offered]
    assert "set_belt_speed" in names
    assert len(names) == default_engine.bundle.manifest.taught.tools_at_once
    prompt = default_engine.tokenizer.encode_chat(messages, offered)
    assert len(prompt.ids) <= default_engine.capacity - MIN_ROOM
    assert "play_music" in [one.name for one in decider.offer(messages, ranking, "play_music")]


def test_what_is_denied_is_decided_and_not_made(default_engine: Engine) -> None:
    decider = Decider(default_engine, TOOLS[:2], "You control a production line.")
    for text, code in (("stop the line", ""), ("do not stop the line", "negated")):
        decision = decider.decide([Message("user", (text,))], hear(text), "auto", Ask(64, GREEDY))
        assert [call.name for call in decision.answer.calls] == ["stop_line"]
        assert (decision.doubt.code if decision.doubt else "") == code
