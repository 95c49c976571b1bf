"""From a sentence to calls that stand: tools are ranked, the few best are shown to the model, its choice is doubted.

Nothing is carried out here, so that what would be done can be asked without doing it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from lineside.runtime.assistant import Answer, ask
from lineside.runtime.chat import Message, Tool, ToolCall
from lineside.runtime.commands.declared import Declared
from lineside.runtime.commands.doubt import Doubt, Judge
from lineside.runtime.commands.heard import Heard
from lineside.runtime.commands.retrieval import Ranking, ToolIndex
from lineside.runtime.commands.texts import without_fillers
from lineside.runtime.commands.trust import Trust
from lineside.runtime.defaults import CALL_ABOVE
from lineside.runtime.engine.engine import Engine
from lineside.runtime.engine.sampling import Sampling
from lineside.runtime.engine.scheduler import Request
from lineside.runtime.errors import GrammarError
from lineside.runtime.grammar.tool_grammar import OneTool, ToolChoice
from lineside.runtime.timings import total

MIN_ROOM = 128
"""Tokens for a command and its answer, at the least."""
MOST_TOOLS = 16
"""In one prompt, of a model that does not say how many it was taught."""
CLEAR_LEAD = 0.15
"""By which the best tool by words is ahead of the next where the model is asked about it alone."""


@dataclass(frozen=True)
class Decision:
    """What came out for one sentence.

    Attributes:
        answer: the model's; its calls are to be made only without a doubt.
        doubt: why its calls are not to be made; None where they may be, or where there are none.
        ranking: the tools by words.
        offered: names of the tools that the model was shown.
        sure: the calibrated probability that the calls are right, of the least sure one; None where there are none.
    """

    answer: Answer
    doubt: Doubt | None
    ranking: Ranking
    offered: tuple[str, ...]
    sure: float | None = None


@dataclass(frozen=True)
class Ask:
    """How the model is asked; see `runtime.assistant.ask`."""

    max_tokens: int
    sampling: Sampling
    request: Request | None = None
    call_above: float = CALL_ABOVE


class Decider:
    """Decides on commands with the tools of one station.

    Args:
        system: what the model is told first, where its length matters.
        most: tools in one prompt; 0 for as many as the bundle says it was taught.

    Raises:
        GrammarError: a tool cannot be expressed by a grammar, or takes a prompt of its own.
    """

    def __init__(
        self, engine: Engine, tools: Sequence[Declared], system: str = "", trust: Trust | None = None, most: int = 0
    ) -> None:
        self._engine, self._tools = engine, {tool.name: tool for tool in tools}
        self._index, self._judge = ToolIndex(tools), Judge(self._tools, trust or Trust())
        self._bound = most
        self._costs = self._token_costs(system) if tools else {}

    @property
    def _most(self) -> int:
        """Tools in one prompt."""
        return self._bound or self._engine.bundle.manifest.taught.tools_at_once or MOST_TOOLS

    @property
    def _room(self) -> int:
        """Tokens of a prompt."""
        return self._engine.capacity - MIN_ROOM

    def _token_costs(self, system: str) -> dict[str, int]:
        """Tokens that each tool takes. Raises GrammarError where one alone is too long, or cannot be enforced."""
        messages = [Message("system", (system,)), Message("user", ("stop",))]
        encode = self._engine.tokenizer.encode_chat
        bare = len(encode(messages, ()).ids)
        costs = {}
        for name, declared in self._tools.items():
            self._engine.grammars.tools((declared.tool,))
            used = len(encode(messages, (declared.tool,)).ids)
            if used > self._room:
                raise GrammarError(
                    f"{name} alone takes {used} tokens of each prompt, and `model.capacity` is "
                    f"{self._engine.capacity}: shorten its longest parameters"
                )
            costs[name] = used - bare
        return costs

    def fits(self, messages: Sequence[Message]) -> bool:
        """Whether they leave room for any one tool and an answer."""
        used = len(self._engine.tokenizer.encode_chat(messages, ()).ids)
        return used + max(self._costs.values(), default=0) <= self._room

    def rank(self, heard: Heard) -> Ranking:
        """Every tool by its words."""
        return self._index.rank(heard)

    def offer(self, messages: Sequence[Message], ranking: Ranking, named: str = "") -> tuple[Tool, ...]:
        """The best few tools, as many as fit behind these messages, in the order of the station file.

        Args:
            named: a tool that must be among them.
        """
        if not self._tools:
            return ()
        left = self._room - len(self._engine.tokenizer.encode_chat(messages, ()).ids)
        chosen: set[str] = set()
        for name in dict.fromkeys([*([named] if named else []), *ranking.scores]):
            if len(chosen) == self._most:
                break
            if self._costs[name] <= left or not chosen:
                chosen.add(name)
                left -= self._costs[name]
        return tuple(declared.tool for name, declared in self._tools.items() if name in chosen)

    def decide(self, messages: Sequence[Message], heard: Heard, choice: ToolChoice, how: Ask) -> Decision:
        """Ask the model, and doubt its calls.

        Raises:
            EngineError: see `runtime.errors`.
        """
        ranking = self.rank(heard)
        named = choice.name if isinstance(choice, OneTool) else ""
        offered = self.offer(messages, ranking, named)
        first = self._decide(messages, heard, choice, how, ranking, offered, named)
        best = ranking.best
        called = {call.name for call in first.answer.calls}
        unsettled = choice == "auto" and (first.doubt is not None or not called) and called != {best}
        # A model that was taught no conversation writes nothing but calls: its silence is no answer.
        insists = self._engine.bundle.manifest.taught.conversation is False and ranking.lead >= CLEAR_LEAD
        if not (insists and unsettled and best) or self._in_vain(heard, best):
            return first
        second = self._decide(messages, heard, OneTool(best), how, ranking, offered)
        timings = total((first.answer.timings, second.answer.timings))
        if second.doubt is not None or not second.answer.calls:
            return replace(first, answer=replace(first.answer, timings=timings))
        return replace(second, answer=replace(second.answer, timings=timings))

    def _in_vain(self, heard: Heard, name: str) -> bool:
        """Whether no call of this tool could stand, whatever its arguments."""
        asked = heard.question and not self._tools[name].reads
        return asked or heard.negation is not None

    def _decide(
        self,
        messages: Sequence[Message],
        heard: Heard,
        choice: ToolChoice,
        how: Ask,
        ranking: Ranking,
        offered: tuple[Tool, ...],
        named: str = "",
    ) -> Decision:
        answer = ask(
            self._engine,
            messages,
            offered,
            tool_choice=choice if offered else "auto",
            call_above=how.call_above,
            max_tokens=how.max_tokens,
            sampling=how.sampling,
            request=how.request,
        )
        answer = replace(answer, calls=tuple(self._cut(heard, call) for call in answer.calls))
        doubt = None
        if answer.calls:
            doubt = self._judge.doubt(heard, answer.calls, ranking, answer.confidences, chosen=named)
        pairs = zip(answer.calls, answer.confidences, strict=False)
        sure = [self._judge.sure(heard, call, ranking, one, call.name == named) for call, one in pairs]
        return Decision(answer, doubt, ranking, tuple(tool.name for tool in offered), min(sure, default=None))

    def _cut(self, heard: Heard, call: ToolCall) -> ToolCall:
        """The call without fillers in its free texts."""
        declared = self._tools.get(call.name)
        if declared is None or "values" in declared.unchecked:
            return call
        return replace(call, arguments=without_fillers(heard, declared, call.arguments))
