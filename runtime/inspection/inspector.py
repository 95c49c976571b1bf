"""Inspect one picture: a verdict with a probability from the logits, then the defects under the grammar."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from lineside.runtime.chat import Picture, Prompt
from lineside.runtime.engine.engine import Engine
from lineside.runtime.engine.sampling import GREEDY
from lineside.runtime.engine.scheduler import Priority, Request
from lineside.runtime.engine.sequence import Sequence
from lineside.runtime.errors import AnswerError, DeadlineExceeded, NotFinite, RequestCancelled
from lineside.runtime.inspection.augmentation import mean, merged, swayed
from lineside.runtime.inspection.bounds import blank, not_asked_so, not_taught, taught_colors, unusual_color
from lineside.runtime.inspection.calibration import Calibration
from lineside.runtime.inspection.close_ups import CloseUp, close_ups, worst
from lineside.runtime.inspection.examples import ShownBefore
from lineside.runtime.inspection.observation import Inspection, Observation, confidence, nothing_shown
from lineside.runtime.inspection.reasoning import UNDECIDED, Reasoner
from lineside.runtime.inspection.reporting import Reporter
from lineside.runtime.inspection.task import InspectionTask
from lineside.runtime.inspection.verdict import VERDICTS, Defect, Region, Thresholds, Verdict, fail_probability, judge
from lineside.runtime.inspection.view import View
from lineside.runtime.manifest import Color
from lineside.runtime.timings import Counts, FinishReason, Timings, stopwatch, total

log = logging.getLogger("lineside.inspection")
MAX_ANSWER_TOKENS, LEAST_ANSWER_TOKENS = 640, 400
"""What an answer may take, and what there must be room for."""
BEGIN_TOKENS = 32
"""At most so many are put behind the verdict's beginning to begin the rest of an answer."""


class Inspector:
    """Inspects pictures for one task on one engine; `calibration` puts its probabilities right, and vouches for the
    model where it was not taught the task.

    Args:
        colors: of the pictures that the calibration was fitted to; None where nobody knows.

    Attributes:
        not_taught: why the model's own verdicts are all `unsure`; empty where they count.
    """

    def __init__(
        self,
        engine: Engine,
        task: InspectionTask,
        thresholds: Thresholds | None = None,
        calibration: Calibration | None = None,
        *,
        colors: tuple[Color, ...] | None = None,
    ) -> None:
        if task.template is None:
            task = replace(task, template=engine.bundle.manifest.inspection)
        self.task, self.calibration, self.thresholds = task, calibration, thresholds or Thresholds()
        self._taught, self.colors = engine.bundle.manifest.taught, colors
        self.not_taught = ""
        if calibration is None:
            self.not_taught = not_taught(self._taught, task) or not_asked_so(engine.bundle.manifest, task)
        self._engine = engine
        self._reasoner = Reasoner(engine, task)
        self._looking = replace(task, report=None, examples=())  # a report changes nothing of what is looked for
        self._candidates = _candidates(engine.tokenizer.token_bytes)
        self._reporter = Reporter(engine, replace(task, examples=()), task.report) if task.report is not None else None
        self._constraint = engine.grammars.object(self._looking.properties())
        self._shown: ShownBefore | None = None
        if task.examples and task.reference is None:
            room = BEGIN_TOKENS + self._reasoner.most_tokens + MAX_ANSWER_TOKENS + len(self._reasoner.prefix)
            self._shown = ShownBefore(engine, replace(task, report=None), room)

    def inspect(self, picture: Picture, request: Request | None = None, *, max_side: int = 0) -> Inspection:
        """Inspect one upright frame, of which the task says what is looked at; boxes are in pixels of the frame.

        `request` has a frame's priority and no deadline where it is left out; `max_side` is that of the task where it
        is 0.

        Raises:
            EngineError: see `inspect_part`; RegionOutside where the frame is too small.
        """
        preparation = self.task.preparation
        return preparation.in_frame(self.inspect_part(preparation.part(picture), request, max_side=max_side))

    def inspect_part(
        self, picture: Picture, request: Request | None = None, region: Region | None = None, *, max_side: int = 0
    ) -> Inspection:
        """Inspect what is looked at of a frame; boxes are in its pixels.

        `region` is where something may be wrong, x0, y0, x1, y1 in pixels. A task with a reference is inspected by
        close-ups of the places where the two differ: see `runtime.inspection.close_ups`. Where the two seem not to show
        the same scene, no verdict is better than `unsure`. A report is written behind the verdict, which is the same
        without one.

        A task's examples are shown before the picture, and not when a report is asked for, since they have none.

        Where bundle and task say `any_way_up`, each view that leaves doubt is shown once more, rotated: test-time
        augmentation.

        The verdict is `unsure`, with a `doubt`, where the model was not taught such a task or such a picture and
        nothing vouches for it, and where the picture shows nothing: then the model is not asked.

        Raises:
            EngineError: see `runtime.errors`; DeadlineExceeded where the verdict was not known in time.
        """
        if empty := blank(picture):
            return nothing_shown(empty)
        request = request or Request(Priority.FRAME)
        looking = replace(self._looking, max_side=max_side) if max_side else self._looking
        found = self._look(View(picture, looking, region), request)
        found = self.report(picture, found, request, region, max_side=max_side)
        if doubt := self._doubt(picture):
            return replace(
                found, verdict="unsure", confidence=confidence("unsure", found.fail_probability), doubt=doubt
            )
        return found

    def report(
        self,
        picture: Picture,
        inspection: Inspection,
        request: Request,
        region: Region | None = None,
        *,
        max_side: int = 0,
    ) -> Inspection:
        """`inspection` with the report that the task asks for; as it is where it asks for none."""
        if self._reporter is None:
            return inspection
        task = replace(self.task, max_side=max_side) if max_side else self.task
        return self._reporter.report(View(picture, task, region), inspection, request)

    def _doubt(self, picture: Picture) -> str:
        """Why the model's verdict on a picture does not count; empty where it does."""
        if self.not_taught or self.calibration is None:
            return self.not_taught or unusual_color(picture, taught_colors(self._taught, self.task))
        return unusual_color(picture, self.colors)

    def _look(self, view: View, request: Request) -> Inspection:
        """An inspection without a report."""
        picture, reference = view.picture, view.task.reference
        if reference is None:
            return self._inspect_view(view, request)
        searching = Timings()
        with stopwatch(searching, "preprocess"):
            differing = close_ups(picture, reference)
        if differing.found:
            inspections = [self._inspect_view(_close(view, each), request) for each in differing.found]
            inspection = worst(inspections, differing.found, (picture.shape[1], picture.shape[0]))
        else:
            inspection = self._inspect_view(view, request)
            if not differing.same_scene and inspection.verdict == "pass":
                inspection = replace(inspection, verdict="unsure")
        inspection.timings.preprocess_ms += searching.preprocess_ms
        return inspection

    def probabilities(self, picture: Picture) -> dict[Verdict, float]:
        """The model's own probability of each verdict on an upright frame, before any calibration; nothing is
        generated. Of several close-ups those of the most suspicious one; with test-time augmentation the mean of both
        views.

        Raises:
            EngineError: see `runtime.errors`.
        """
        view, reference = View(self.task.preparation.part(picture), self._looking), self._looking.reference
        found = close_ups(view.picture, reference).found if reference is not None else ()
        views = [_close(view, close_up) for close_up in found] or [view]
        return max((self._view_probabilities(view) for view in views), key=fail_probability)

    @property
    def engine(self) -> Engine:
        return self._engine

    def _view_probabilities(self, view: View) -> dict[Verdict, float]:
        request = Request(Priority.FRAME)
        ways = (False, True) if self._augments else (False,)
        return mean([self._observe(view, request, lambda _: None, rotated=way).probabilities for way in ways])

    def _worth_another(self, first: Mapping[Verdict, float]) -> bool:
        """Whether the rotated view could change the verdict."""
        return self._augments and any(self._verdict(each) != self._verdict(first) for each in swayed(first))

    @property
    def _augments(self) -> bool:
        return self._engine.bundle.manifest.any_way_up and self.task.any_way_up

    def _inspect_view(self, view: View, request: Request) -> Inspection:
        """One observation, or in doubt, with test-time augmentation, two, of which the mean counts. Where the rotated
        view alone raised suspicion, the upright one is observed again, for the defects.
        """
        first = self._observe(view, request, self._verdict)
        if not self._worth_another(first.probabilities):
            return self._inspection([first], first.probabilities, first.defects)
        second = self._observe(view, request, lambda own: self._verdict(mean([first.probabilities, own])), rotated=True)
        probabilities = mean([first.probabilities, second.probabilities])
        verdict = self._verdict(probabilities)
        if verdict == "pass":  # whatever the first observation had then
            return self._inspection([replace(first, finish_reason="stop"), second], probabilities, ())
        upright, observations = first, [first, second]
        if self._verdict(first.probabilities) == "pass":
            upright = self._observe_again(view, request, verdict, first)
            observations.append(upright)
        return self._inspection(observations, probabilities, merged(upright, second, view.size))

    def _observe_again(self, view: View, request: Request, verdict: Verdict, first: Observation) -> Observation:
        """For the defects behind a suspicion. The verdict stands, whatever becomes of this."""
        try:
            return self._observe(view, request, lambda _: verdict)
        except (DeadlineExceeded, RequestCancelled) as error:
            reason: FinishReason = "deadline" if isinstance(error, DeadlineExceeded) else "cancelled"
            return replace(first, finish_reason=reason, timings=Timings(), counts=Counts())

    def _verdict(self, probabilities: Mapping[Verdict, float]) -> Verdict:
        return judge(probabilities, self.thresholds, self.calibration)[0]

    def _inspection(
        self,
        observations: list[Observation],
        probabilities: Mapping[Verdict, float],
        defects: tuple[Defect, ...],
    ) -> Inspection:
        verdict, defect = judge(probabilities, self.thresholds, self.calibration)
        return Inspection(
            verdict,
            confidence(verdict, defect),
            defect,
            defects,
            next((each.finish_reason for each in observations if each.finish_reason != "stop"), "stop"),
            total([each.timings for each in observations]),
            total([each.counts for each in observations]),
            observations=tuple(observations),
        )

    def _observe(
        self,
        view: View,
        request: Request,
        decide: Callable[[Mapping[Verdict, float]], Verdict | None],
        *,
        rotated: bool = False,
    ) -> Observation:
        """What the model says of one view; `decide` makes a verdict of its probabilities, None where no answer is
        wanted.
        """
        engine = self._engine
        preprocess = Timings()
        with stopwatch(preprocess, "preprocess"):
            if rotated:
                view = view.rotated()
            prompt = self._prompt(view)
        thinking = self._reasoner.most_tokens
        left = engine.capacity - BEGIN_TOKENS - thinking - len(prompt.ids)
        room = thinking + min(MAX_ANSWER_TOKENS, max(left, LEAST_ANSWER_TOKENS))
        prompt_sha256 = hashlib.sha256(prompt.ids.tobytes()).hexdigest()
        pin = self._shown.pin if self._shown is not None else None
        with engine.sequence(prompt, reserve=BEGIN_TOKENS + room, request=request, pin=pin) as sequence:
            sequence.timings.preprocess_ms = preprocess.preprocess_ms
            begun, reason = self._reasoner.begin(sequence)
            if reason != "stop":  # no verdict can be read
                return Observation(UNDECIDED, (), reason, sequence.timings, sequence.counts, prompt_sha256)
            probabilities = self._probabilities(sequence.logits)
            verdict = decide(probabilities)
            defects: tuple[Defect, ...] = ()
            tokens = tuple(begun[len(self._reasoner.prefix) :].tolist())
            if verdict is not None and verdict != "pass":
                text, described, reason = self._describe(sequence, begun, "fail")  # a suspicion is described, too
                tokens += described
                if reason == "stop":
                    try:
                        defects = self._looking.parse(text, *view.size)[0]
                    except AnswerError as error:  # the verdict stands: it was not read from the text
                        log.info("%s", error)
                        reason = "unreadable"
        return Observation(probabilities, defects, reason, sequence.timings, sequence.counts, prompt_sha256, tokens)

    def _prompt(self, view: View) -> Prompt:
        chat = self._engine.tokenizer.encode_chat(view.task.messages(view.picture, view.region))
        if self._shown is not None:
            chat = self._shown.before(chat)
        return Prompt(np.concatenate([chat.ids, self._reasoner.prefix]), chat.pixels)

    def _probabilities(self, logits: npt.NDArray[np.float32]) -> dict[Verdict, float]:
        """Softmax over the tokens with which a verdict can begin, summed for each verdict."""
        if not np.isfinite(logits).all():
            raise NotFinite("the model computed logits that are not finite: run `lineside check` on the bundle")
        peak = max(float(logits[tokens].max()) for tokens in self._candidates.values())
        mass = {name: float(np.exp(logits[tokens] - peak).sum()) for name, tokens in self._candidates.items()}
        whole = sum(mass.values())
        return {name: value / whole for name, value in mass.items()}

    def _describe(
        self, sequence: Sequence, begun: npt.NDArray[np.int64], begin: str
    ) -> tuple[str, tuple[int, ...], FinishReason]:
        """Let the model go on from the beginning of an answer, under the grammar; returns the whole answer's text, and
        the tokens that were generated.
        """
        engine = self._engine
        constraint = self._constraint.fresh()
        tokens = engine.tokenizer.encode_text(begin)
        constraint.accept([*begun, *tokens])
        try:
            sequence.extend(tokens[:-1])
        except DeadlineExceeded:
            return "", (), "deadline"
        except RequestCancelled:
            return "", (), "cancelled"
        sequence.hold(int(tokens[-1]))  # the first pass takes it along with what the grammar forces behind it
        generation = engine.generate(sequence, max_tokens=MAX_ANSWER_TOKENS, sampling=GREEDY, constraint=constraint)
        text = engine.tokenizer.decode(begun) + begin + engine.tokenizer.decode(generation.ids)
        return text, generation.ids, generation.finish_reason


def _candidates(token_bytes: list[bytes]) -> dict[Verdict, npt.NDArray[np.int64]]:
    """For each verdict, the tokens that are a non-empty beginning of its name."""
    return {
        name: np.asarray(
            [i for i, piece in enumerate(token_bytes) if piece and name.encode().startswith(piece)], np.int64
        )
        for name in VERDICTS
    }


def _close(view: View, close_up: CloseUp) -> View:
    return View(close_up.picture, replace(view.task, reference=close_up.reference, tinted=True))
