"""Inspect one picture: a verdict with a probability from the logits, then the defects under the grammar."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from lineside.runtime.chat import Picture, Prompt
from lineside.runtime.engine.engine import Engine
from lineside.runtime.engine.sampling import GREEDY
from lineside.runtime.engine.scheduler import Priority, Request
from lineside.runtime.engine.sequence import Counts, Sequence
from lineside.runtime.errors import AnswerError, DeadlineExceeded, NotFinite, RequestCancelled
from lineside.runtime.inspection.augmentation import Sight, Told, mean, together
from lineside.runtime.inspection.calibration import Calibration
from lineside.runtime.inspection.close_ups import View, joined, views
from lineside.runtime.inspection.task import ANSWER_PREFIX, VERDICTS, Defect, InspectionTask, Region, Verdict
from lineside.runtime.inspection.verdict import Inspection, Thresholds, fail_probability, judge
from lineside.runtime.timings import FinishReason, Timings, stopwatch, total

log = logging.getLogger("lineside.inspection")
MAX_ANSWER_TOKENS, LEAST_ANSWER_TOKENS = 640, 400
"""What an answer without a report may take, and what there must be room for."""
MAX_REPORT_TOKENS = 600
BEGIN_TOKENS = 32
"""At most so many are put behind `ANSWER_PREFIX` to begin the rest of an answer."""


class Inspector:
    """Inspects pictures for one task on one engine; `calibration` puts its probabilities right."""

    def __init__(
        self,
        engine: Engine,
        task: InspectionTask,
        thresholds: Thresholds | None = None,
        calibration: Calibration | None = None,
    ) -> None:
        self.task, self.calibration = task, calibration
        self._engine = engine
        self._thresholds = thresholds or Thresholds()
        self._prefix = engine.tokenizer.encode_text(ANSWER_PREFIX)
        self._begin: dict[Verdict, str] = {"fail": "fail", "unsure": "fail", "pass": 'pass","defects":[],"report'}
        self._max_tokens = MAX_ANSWER_TOKENS + (MAX_REPORT_TOKENS if task.report is not None else 0)
        self._candidates = _candidates(engine.tokenizer.token_bytes)
        if task.report is not None:  # a schema that cannot be expressed is found at start
            engine.grammars.json(task.report, task.report_name)
        self._constraint = engine.grammars.object(task.properties())

    def inspect(self, picture: Picture, request: Request | None = None, region: Region | None = None) -> Inspection:
        """Look at one picture; `request` has a frame's priority and no deadline where it is left out.

        `region` is where something may be wrong, x0, y0, x1, y1 in pixels. A task with a reference, and without a
        report, has the places looked at closely where the two differ: see `runtime.inspection.close_ups`. Where the two
        seem not to show the same view, no verdict is better than `unsure`.

        Where bundle and task say `any_way_up`, each look is followed by one at the same upside down; the mean of both
        probabilities counts.

        Raises:
            EngineError: see `runtime.errors`; DeadlineExceeded where the verdict was not known in time.
        """
        request = request or Request(Priority.FRAME)
        reference = self.task.reference
        if reference is None or self.task.report is not None:
            return self._look(Sight(picture, self.task, region), request)
        searching = Timings()
        with stopwatch(searching, "preprocess"):
            found = views(picture, reference)
        if found.close:
            looks = [self._look(self._sight(view), request) for view in found.close]
            inspection = joined(looks, found.close, (picture.shape[1], picture.shape[0]))
        else:
            inspection = self._look(Sight(picture, self.task, region), request)
            if not found.same_view and inspection.verdict == "pass":
                inspection = replace(inspection, verdict="unsure")
        inspection.timings.preprocess_ms += searching.preprocess_ms
        return inspection

    def probabilities(self, picture: Picture) -> dict[Verdict, float]:
        """The model's own probability of each verdict, before any calibration; nothing is generated. Of several places
        those of the most suspicious one, of two looks at one place their mean.

        Raises:
            EngineError: see `runtime.errors`.
        """
        reference = self.task.reference
        close = views(picture, reference).close if reference is not None and self.task.report is None else ()
        sights = [self._sight(view) for view in close] or [Sight(picture, self.task)]
        return max((self._judged(sight) for sight in sights), key=fail_probability)

    def _sight(self, view: View) -> Sight:
        return Sight(view.picture, replace(self.task, reference=view.reference, tinted=True))

    def _judged(self, sight: Sight) -> dict[Verdict, float]:
        request = Request(Priority.FRAME)
        ways = (False, True) if self._both_ways else (False,)
        return mean([self._answer(sight, request, lambda _: None, turned=way).probabilities for way in ways])

    @property
    def _both_ways(self) -> bool:
        """A report is about the picture as it came."""
        return self._engine.bundle.manifest.any_way_up and self.task.any_way_up and self.task.report is None

    def _look(self, sight: Sight, request: Request) -> Inspection:
        """At one picture, or at two: how it should be, and how it is. Once more upside down, where that helps; then
        what both told counts, and a look that told nothing is asked again where the other raised suspicion.
        """
        if not self._both_ways:
            only = self._answer(sight, request, self._verdict)
            return self._inspection([only], only.probabilities, only.defects)
        first = self._answer(sight, request, self._verdict)
        second = self._answer(sight, request, lambda own: self._verdict(mean([first.probabilities, own])), turned=True)
        probabilities = mean([first.probabilities, second.probabilities])
        verdict = self._verdict(probabilities)
        if verdict == "pass":  # whatever the first told then
            return self._inspection([replace(first, finish_reason="stop"), second], probabilities, ())
        upright, told = first, [first, second]
        if self._verdict(first.probabilities) == "pass":
            upright = self._asked_again(sight, request, verdict, first)
            told.append(upright)
        return self._inspection(told, probabilities, together(upright, second, sight.size))

    def _asked_again(self, sight: Sight, request: Request, verdict: Verdict, first: Told) -> Told:
        """What the first look sees where the second raised suspicion. The verdict stands, whatever becomes of this."""
        try:
            return self._answer(sight, request, lambda _: verdict)
        except (DeadlineExceeded, RequestCancelled) as error:
            reason: FinishReason = "deadline" if isinstance(error, DeadlineExceeded) else "cancelled"
            return replace(first, finish_reason=reason, timings=Timings(), counts=Counts())

    def _verdict(self, probabilities: Mapping[Verdict, float]) -> Verdict:
        return judge(probabilities, self._thresholds, self.calibration)[0]

    def _inspection(
        self, told: list[Told], probabilities: Mapping[Verdict, float], defects: tuple[Defect, ...]
    ) -> Inspection:
        verdict, defect = judge(probabilities, self._thresholds, self.calibration)
        return Inspection(
            verdict,
            {"pass": 1 - defect, "fail": defect, "unsure": max(defect, 1 - defect)}[verdict],
            defect,
            defects,
            next((each.finish_reason for each in told if each.finish_reason != "stop"), "stop"),
            total([each.timings for each in told]),
            total([each.counts for each in told]),
            told[0].report,
        )

    def _answer(
        self,
        sight: Sight,
        request: Request,
        decide: Callable[[Mapping[Verdict, float]], Verdict | None],
        *,
        turned: bool = False,
    ) -> Told:
        """What the model says at one look; `decide` makes a verdict of its probabilities, None where it is to tell
        nothing.
        """
        engine, task = self._engine, self.task
        preprocess = Timings()
        with stopwatch(preprocess, "preprocess"):
            if turned:
                sight = sight.turned()
            prompt = self._prompt(sight)
        left = engine.capacity - BEGIN_TOKENS - len(prompt.ids)
        room = min(self._max_tokens, max(left, LEAST_ANSWER_TOKENS))
        with engine.sequence(prompt, reserve=BEGIN_TOKENS + room, request=request) as sequence:
            sequence.timings.preprocess_ms = preprocess.preprocess_ms
            probabilities = self._probabilities(sequence.logits)
            verdict = decide(probabilities)
            defects: tuple[Defect, ...] = ()
            report = None
            reason: FinishReason = "stop"
            if verdict is not None and (verdict != "pass" or task.report is not None):
                text, reason = self._describe(sequence, self._begin[verdict])
                if reason == "stop":
                    try:
                        defects, report = task.parse(text, *sight.size)
                    except AnswerError as error:  # the verdict stands: it was not read from the text
                        log.warning("%s", error)
                        reason = "unreadable"
        return Told(probabilities, defects, reason, sequence.timings, sequence.counts, report)

    def _prompt(self, sight: Sight) -> Prompt:
        chat = self._engine.tokenizer.encode_chat(sight.task.messages(sight.picture, sight.region))
        return Prompt(np.concatenate([chat.ids, self._prefix]), chat.pixels)

    def _probabilities(self, logits: npt.NDArray[np.float32]) -> dict[Verdict, float]:
        """Softmax over the tokens with which a verdict can begin, summed for each verdict."""
        if not np.isfinite(logits).all():
            raise NotFinite("the model computed logits that are not finite: run `lineside check` on the bundle")
        peak = max(float(logits[tokens].max()) for tokens in self._candidates.values())
        mass = {name: float(np.exp(logits[tokens] - peak).sum()) for name, tokens in self._candidates.items()}
        whole = sum(mass.values())
        return {name: value / whole for name, value in mass.items()}

    def _describe(self, sequence: Sequence, begin: str) -> tuple[str, FinishReason]:
        """Let the model go on from the beginning of an answer, under the grammar; returns the whole answer's text."""
        engine = self._engine
        constraint = self._constraint.fresh()
        tokens = engine.tokenizer.encode_text(begin)
        constraint.accept([*self._prefix, *tokens])
        try:
            sequence.extend(tokens[:-1])
        except DeadlineExceeded:
            return "", "deadline"
        except RequestCancelled:
            return "", "cancelled"
        sequence.hold(int(tokens[-1]))  # the first pass takes it along with what the grammar forces behind it
        generation = engine.generate(sequence, max_tokens=self._max_tokens, sampling=GREEDY, constraint=constraint)
        text = ANSWER_PREFIX + begin + engine.tokenizer.decode(generation.ids)
        return text, generation.finish_reason


def _candidates(token_bytes: list[bytes]) -> dict[Verdict, npt.NDArray[np.int64]]:
    """For each verdict, the tokens that are a non-empty beginning of its name."""
    return {
        name: np.asarray(
            [i for i, piece in enumerate(token_bytes) if piece and name.encode().startswith(piece)], np.int64
        )
        for name in VERDICTS
    }
