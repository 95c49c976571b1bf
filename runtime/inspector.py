"""Inspect one picture: a verdict with a probability from the logits, then the defects under the grammar."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from runtime.calibration import Calibration
from runtime.chat import Picture, Prompt
from runtime.decoding import FinishReason
from runtime.engine import Engine
from runtime.errors import DeadlineExceeded, NotFinite, RequestCancelled
from runtime.gate import Look
from runtime.inspection import ANSWER_PREFIX, VERDICTS, Defect, InspectionTask, Region, Verdict
from runtime.sampling import GREEDY
from runtime.scheduler import Priority, Request
from runtime.sequence import Counts, Sequence
from runtime.timings import Timings, stopwatch

MAX_ANSWER_TOKENS, LEAST_ANSWER_TOKENS = 640, 400
"""What an answer without a report may take, and what there must be room for."""
MAX_REPORT_TOKENS = 600
BEGIN_TOKENS = 32
"""At most so many are put behind `ANSWER_PREFIX` to begin the rest of an answer."""


@dataclass(frozen=True)
class Thresholds:
    """Where `pass` ends and `fail` begins on the probability of a defect; between them the verdict is `unsure`."""

    pass_below: float = 0.35
    fail_above: float = 0.65

    def verdict(self, defect: float) -> Verdict:
        """By the probability of a defect."""
        if defect >= self.fail_above:
            return "fail"
        return "pass" if defect <= self.pass_below else "unsure"


@dataclass(frozen=True)
class Inspection:
    """What came out.

    Attributes:
        confidence: probability of the verdict; for `unsure`, of the likelier of pass and fail.
        fail_probability: probability of fail against pass, calibrated where there is a calibration.
        defects: in pixels; under `unsure` they are suspicions.
        report: JSON that satisfies the task's schema for it; None where it has none, or the answer is not complete.
        look: what the gate saw, where there is one; `decided_by` says whether that was enough.
        finish_reason: other than `stop` where generation was cut off before the answer was finished.
    """

    verdict: Verdict
    confidence: float
    fail_probability: float
    defects: tuple[Defect, ...]
    finish_reason: FinishReason
    timings: Timings
    counts: Counts
    report: Any = None
    look: Look | None = None
    decided_by: Literal["gate", "model"] = "model"

    @property
    def complete(self) -> bool:
        return self.finish_reason == "stop"


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

        `region` is where something may be wrong, x0, y0, x1, y1 in pixels.

        Raises:
            EngineError: see `runtime.errors`.
        """
        engine = self._engine
        preprocess = Timings()
        with stopwatch(preprocess, "preprocess"):
            prompt = self._prompt(picture, region)
        request = request or Request(Priority.FRAME)
        left = engine.capacity - BEGIN_TOKENS - len(prompt.ids)
        room = min(self._max_tokens, max(left, LEAST_ANSWER_TOKENS))
        with engine.sequence(prompt, reserve=BEGIN_TOKENS + room, request=request) as sequence:
            sequence.timings.preprocess_ms = preprocess.preprocess_ms
            probabilities = self._probabilities(sequence.logits)
            verdict, defect = judge(probabilities, self._thresholds, self.calibration)
            defects: tuple[Defect, ...] = ()
            report = None
            reason: FinishReason = "stop"
            if verdict != "pass" or self.task.report is not None:
                text, reason = self._describe(sequence, self._begin[verdict])
                if reason == "stop":
                    defects, report = self.task.parse(text, picture.shape[1], picture.shape[0])
        confidence = {"pass": 1 - defect, "fail": defect, "unsure": max(defect, 1 - defect)}[verdict]
        return Inspection(verdict, confidence, defect, defects, reason, sequence.timings, sequence.counts, report)

    def probabilities(self, picture: Picture) -> dict[Verdict, float]:
        """The model's own probability of each verdict, before any calibration; nothing is generated.

        Raises:
            EngineError: see `runtime.errors`.
        """
        with self._engine.sequence(self._prompt(picture), reserve=0) as sequence:
            return self._probabilities(sequence.logits)

    def _prompt(self, picture: Picture, region: Region | None = None) -> Prompt:
        chat = self._engine.tokenizer.encode_chat(self.task.messages(picture, region))
        return Prompt(np.concatenate([chat.ids, self._prefix]), chat.pixels)

    def _probabilities(self, logits: npt.NDArray[np.float32]) -> dict[Verdict, float]:
        """Softmax over the tokens with which a verdict can begin, summed for each verdict."""
        if not np.isfinite(logits).all():
            raise NotFinite("the model computed logits that are not finite: run `lineside check` on the bundle")
        peak = max(float(logits[tokens].max()) for tokens in self._candidates.values())
        mass = {name: float(np.exp(logits[tokens] - peak).sum()) for name, tokens in self._candidates.items()}
        total = sum(mass.values())
        return {name: value / total for name, value in mass.items()}

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


def fail_probability(probabilities: Mapping[Verdict, float]) -> float:
    """Fail against pass, leaving `unsure` out."""
    return probabilities["fail"] / max(probabilities["fail"] + probabilities["pass"], 1e-12)


def abstains(probabilities: Mapping[Verdict, float]) -> bool:
    """Whether the model itself would rather say `unsure`."""
    return probabilities["unsure"] > max(probabilities["pass"], probabilities["fail"])


def judge(
    probabilities: Mapping[Verdict, float], thresholds: Thresholds, calibration: Calibration | None
) -> tuple[Verdict, float]:
    """The verdict, and the probability of a defect; `unsure` also where the model itself would rather say so."""
    defect = fail_probability(probabilities)
    if calibration is not None:
        defect = calibration(defect)
    if abstains(probabilities):
        return "unsure", defect
    return thresholds.verdict(defect), defect


def _candidates(token_bytes: list[bytes]) -> dict[Verdict, npt.NDArray[np.int64]]:
    """For each verdict, the tokens that are a non-empty beginning of its name."""
    return {
        name: np.asarray(
            [i for i, piece in enumerate(token_bytes) if piece and name.encode().startswith(piece)], np.int64
        )
        for name in VERDICTS
    }
