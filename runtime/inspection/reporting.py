"""The report that a user's schema asks for: written behind a verdict that stands, which it cannot change."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import replace
from typing import Any

import numpy as np

from lineside.runtime.chat import Prompt
from lineside.runtime.engine.engine import Engine
from lineside.runtime.engine.sampling import GREEDY
from lineside.runtime.engine.scheduler import Request
from lineside.runtime.errors import AnswerError, DeadlineExceeded, RequestCancelled
from lineside.runtime.grammar.json_schema import Schema
from lineside.runtime.inspection.observation import Inspection, Observation
from lineside.runtime.inspection.task import InspectionTask, format_answer
from lineside.runtime.inspection.verdict import Verdict
from lineside.runtime.inspection.view import View
from lineside.runtime.timings import FinishReason, Timings, stopwatch, total

log = logging.getLogger("lineside.inspection")
MAX_REPORT_TOKENS, LEAST_REPORT_TOKENS = 600, 32
"""What a report may take, and what there must be room for."""


class Reporter:
    """Writes the reports of one task, which has a `schema` for them that a grammar can express."""

    def __init__(self, engine: Engine, task: InspectionTask, schema: Schema) -> None:
        self._engine, self._task = engine, task
        engine.grammars.json(schema, task.report_name)  # a schema that cannot be expressed is found at start
        said = replace(task, template=replace(task.asked, reasoning_characters=0))  # the verdict stands already
        self._constraint = engine.grammars.object(said.properties())

    def report(self, view: View, inspection: Inspection, request: Request) -> Inspection:
        """`inspection` with a report on the whole frame in `view`.

        The model is asked anew, with the schema, and goes on from the verdict and the defects as if it had said them.
        An inspection that was cut off gets no report; whatever becomes of the report, the verdict stands.
        """
        if not inspection.complete:
            return inspection
        try:
            report, asked = self._write(view, inspection, request)
        except (DeadlineExceeded, RequestCancelled) as error:
            late: FinishReason = "deadline" if isinstance(error, DeadlineExceeded) else "cancelled"
            return replace(inspection, finish_reason=late)
        return replace(
            inspection,
            report=report,
            finish_reason=asked.finish_reason,
            timings=total([inspection.timings, asked.timings]),
            counts=total([inspection.counts, asked.counts]),
            observations=(*inspection.observations, asked),
        )

    def _write(self, view: View, inspection: Inspection, request: Request) -> tuple[Any, Observation]:
        """The report, None where it is not complete, and what the model was asked; no verdict is read there."""
        engine, known = self._engine, set(self._task.defect_types)
        defects = tuple(defect for defect in inspection.defects if defect.type in known)
        said: Verdict = "pass" if inspection.verdict == "pass" else "fail"  # a suspicion is described as a defect
        begin = format_answer(said, defects, *view.size)[:-1] + ',"report'
        preprocess = Timings()
        with stopwatch(preprocess, "preprocess"):
            task = replace(self._task, max_side=view.task.max_side)
            chat = engine.tokenizer.encode_chat(task.messages(view.picture, view.region))
        tokens = engine.tokenizer.encode_text(begin)
        left = engine.capacity - len(chat.ids) - len(tokens)
        room = min(MAX_REPORT_TOKENS, max(left, LEAST_REPORT_TOKENS))
        prompt = Prompt(np.concatenate([chat.ids, tokens[:-1]]), chat.pixels)
        with engine.sequence(prompt, reserve=1 + room, request=request) as sequence:
            constraint = self._constraint.fresh()
            constraint.accept([*tokens])
            sequence.hold(int(tokens[-1]))  # the first pass takes it along with what the grammar forces behind it
            generation = engine.generate(sequence, max_tokens=room, sampling=GREEDY, constraint=constraint)
        reason = generation.finish_reason
        report = None
        if reason == "stop":
            try:
                report = self._task.parse(begin + engine.tokenizer.decode(generation.ids), *view.size)[1]
            except AnswerError as error:
                log.info("%s", error)
                reason = "unreadable"
        prompt_sha256 = hashlib.sha256(prompt.ids.tobytes()).hexdigest()
        spent = total([preprocess, sequence.timings])
        return report, Observation({}, (), reason, spent, sequence.counts, prompt_sha256, generation.ids)
