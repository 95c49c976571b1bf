"""Whether the calls of an answer stand up to what was said. Whatever model chose them, nothing here asks it again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lineside.runtime.chat import ToolCall
from lineside.runtime.commands.concepts import telling
from lineside.runtime.commands.declared import Declared
from lineside.runtime.commands.heard import Heard
from lineside.runtime.commands.negation import denies, is_opposite
from lineside.runtime.commands.places import other_place
from lineside.runtime.commands.polarity import contradiction
from lineside.runtime.commands.retrieval import Ranking
from lineside.runtime.commands.subjects import about_another
from lineside.runtime.commands.texts import misfit
from lineside.runtime.commands.trust import Trust, evidence, unexplained
from lineside.runtime.commands.values import Findings, check_values, left_out
from lineside.runtime.text.confidence import Confidence

LEAST_BESIDE_A_NUMBER = 0.5
"""Of the best tool's score by words, where a call has no argument but bare numbers."""
MOST_BESIDE_A_NUMBER = 1
"""Words that nothing accounts for, in such a call of a tool that is not the best by words."""


@dataclass(frozen=True)
class Doubt:
    """Why a call is not made.

    Attributes:
        code: for programs.
        message: in the language of the command.
        sure: the calibrated probability that the call is right, where that was looked at.
    """

    code: str
    message: str
    sure: float | None = None


@dataclass(frozen=True)
class Judge:
    """The checks of one station.

    Args:
        tools: by name.
        trust: how probabilities and words become a confidence, and how much of it is enough.
    """

    tools: Mapping[str, Declared]
    trust: Trust = field(default_factory=Trust)

    def doubt(
        self,
        heard: Heard,
        calls: Sequence[ToolCall],
        ranking: Ranking,
        confidences: Sequence[Confidence] = (),
        *,
        chosen: str = "",
    ) -> Doubt | None:
        """The first reason not to make these calls, all of one answer; None where they stand.

        Args:
            confidences: the model's, one for each call; without them the confidence is not looked at.
            chosen: the tool that the command itself asked for by name.
        """
        calls = [call for call in calls if call.name in self.tools]  # the policy refuses others
        findings = {call.name: Findings() for call in calls}
        for call in calls:
            check_values(heard, self.tools[call.name], call.arguments, findings[call.name])
        merged = _merged(findings.values())
        for call in calls:
            found = self._doubt(heard, call, ranking, findings[call.name], chosen == call.name)
            if found is not None:
                return found
        open_calls = [call for call in calls if "values" not in self.tools[call.name].unchecked]
        missing = next(left_out(heard, self.tools, merged), None) if len(open_calls) == len(calls) and calls else None
        if missing is not None:
            return _doubt(heard, "left_out", value=missing, tool=calls[0].name)
        for call, confidence in zip(calls, confidences, strict=False):
            if "confidence" not in self.tools[call.name].unchecked:
                sure = self.sure(heard, call, ranking, confidence, call.name == chosen)
                if sure < self.trust.enough:
                    return _doubt(heard, "unsure", sure, tool=call.name)
        return None

    def sure(
        self, heard: Heard, call: ToolCall, ranking: Ranking, confidence: Confidence, chosen: bool = False
    ) -> float:
        """The calibrated probability that a call of a declared tool is right."""
        seen = evidence(heard, self.tools[call.name], call.arguments, ranking, confidence, chosen)
        return self.trust.sure(seen)

    def _doubt(self, heard: Heard, call: ToolCall, ranking: Ranking, findings: Findings, chosen: bool) -> Doubt | None:
        """Of one call, what can be told without a confidence."""
        declared = self.tools[call.name]
        skipped = declared.unchecked
        if "question" not in skipped and heard.question and not declared.reads:
            return _doubt(heard, "question", tool=call.name)
        denied = denies(heard, findings.quoted)
        if "negation" not in skipped and denied and not is_opposite(heard, declared, call.arguments, ranking):
            return _doubt(heard, "negated", tool=call.name)
        if "words" not in skipped and not denied and not chosen and self._contradicts(heard, call, ranking, findings):
            return _doubt(heard, "contradiction", tool=call.name)
        said, known = other_place(heard, ranking.words.get(call.name, frozenset()), findings.quoted)
        if "values" not in skipped and said:
            return Doubt("unknown_value", heard.language.refusal("no_such_value", value=said, values=known))
        if "values" not in skipped and findings.problems:
            problem = findings.problems[0]
            return _doubt(heard, problem.code, **problem.values)
        step = next((one for one in heard.numbers if one.step and one in findings.used), None)
        if "values" not in skipped and step is not None and not declared.takes_steps:
            return _doubt(heard, "by_how_much", value=step.text, tool=call.name)
        cut = misfit(heard, declared, call.arguments, ranking) if "values" not in skipped else None
        if cut is not None:
            return _doubt(heard, cut.code, value=cut.value, parameter=cut.parameter, tool=call.name)
        return None

    def _contradicts(self, heard: Heard, call: ToolCall, ranking: Ranking, findings: Findings) -> bool:
        """Whether a word says the opposite of the tool, or all words point to other tools, or to another thing."""
        declared, known = self.tools[call.name], ranking.words.get(call.name, frozenset())
        share = ranking.share(declared.name)
        free = any(isinstance(value, str) and value in findings.quoted for value in call.arguments.values())
        if not free and about_another(heard.concepts, known):
            return True
        if any(pair.is_another(known) for pair in heard.modified) or (ranking.best and share < self.trust.least_share):
            return True
        if _says_but_numbers(heard, call):
            left = unexplained(heard, declared, call.arguments, ranking).words
            another = share < 1 and len(left) > MOST_BESIDE_A_NUMBER
            if share < LEAST_BESIDE_A_NUMBER or another or not telling(heard.features & known):
                return True
        return bool(contradiction(heard, declared))


def _says_but_numbers(heard: Heard, call: ToolCall) -> bool:
    """Whether a call has arguments, all of them numbers that were said without a unit: `for six people`."""
    numbers = [
        value for value in call.arguments.values() if isinstance(value, int | float) and not isinstance(value, bool)
    ]
    said = {one.value for one in heard.numbers if not one.share}
    if any(one.unit for one in heard.numbers) or not numbers or len(numbers) < len(call.arguments):
        return False
    return all(float(number) in said for number in numbers)


def _merged(findings: Any) -> Findings:
    merged = Findings()
    for one in findings:
        merged.used |= one.used
        merged.quoted += one.quoted
        merged.ends |= one.ends
        for key, values in one.chosen.items():
            merged.chosen.setdefault(key, []).extend(values)
    return merged


def _doubt(heard: Heard, code: str, sure: float | None = None, **values: Any) -> Doubt:
    return Doubt(code, heard.language.refusal(code, **values), sure)
