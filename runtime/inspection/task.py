"""The inspection protocol: what the model is asked about a picture, and how its answer is read.

The answer is one compact JSON object, `{"verdict":"fail","defects":[{"type":"pitting","box":[x0,y0,x1,y1]}]}`,
with boxes in thousandths of the picture's width and height. The verdict is not read from the text that the
model writes: its probability is taken from the logits that follow `ANSWER_PREFIX`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from lineside.runtime.chat import Message, Picture
from lineside.runtime.errors import AnswerError
from lineside.runtime.grammar.json_schema import Schema
from lineside.runtime.inspection.preparation import AS_GIVEN, Preparation
from lineside.runtime.inspection.verdict import VERDICTS, Defect, Region, Verdict
from lineside.runtime.inspection_template import InspectionTemplate
from lineside.runtime.picture import fit_side
from lineside.runtime.text.strict_json import load_json

GRID = 1000
"""Boxes are integers from 0 to GRID - 1."""
MAX_DEFECTS = 16
ANSWER_PREFIX = '{"verdict":"'
REASONING = "reasoning"


@dataclass(frozen=True)
class Example:
    """A picture of the user's own that is shown before the frame, with the verdict on it and a line about it, possibly
    empty. Where its defects lie is not known.
    """

    picture: Picture = field(repr=False)
    verdict: Literal["pass", "fail"]
    text: str = ""


@dataclass(frozen=True)
class InspectionTask:
    """What to look for.

    Attributes:
        instruction: the user's own sentence about the part, possibly empty.
        report: JSON Schema of what else the model is to report; None for nothing.
        report_name: where that schema comes from, for messages.
        reference: a part without defects from the same side, shown before the picture; boxes are of the picture.
        any_way_up: the part has no up and down: test-time augmentation for a model that was taught so (see
            `runtime.inspection.augmentation`).
        tinted: the picture is coloured where it differs from the reference (see `runtime.inspection.differences`).
        template: how the model is asked; None for the bundle's own way.
        part: what the pictures show, as the bundle names what it was taught; the model is not told.
        examples: shown before each picture (see `runtime.inspection.examples`); none beside a reference.
        preparation: how frames are made ready. The reference and the examples are already.
        max_side: pixels of the longer side of all that the model is shown, at most; 0 for as many as it takes.
    """

    defect_types: tuple[str, ...]
    instruction: str = ""
    report: Schema | None = None
    report_name: str = "the report's schema"
    reference: Picture | None = field(default=None, repr=False, compare=False)
    any_way_up: bool = True
    tinted: bool = False
    part: str = ""
    template: InspectionTemplate | None = None
    examples: tuple[Example, ...] = field(default=(), repr=False, compare=False)
    preparation: Preparation = AS_GIVEN
    max_side: int = 0

    @property
    def asked(self) -> InspectionTemplate:
        return self.template or InspectionTemplate()

    def messages(self, picture: Picture, region: Region | None = None) -> list[Message]:
        """The conversation about one picture; all that does not depend on the picture comes first.

        `region` is where to look, x0, y0, x1, y1 in pixels.
        """
        pictures = (picture,) if self.reference is None else (self.reference, picture)
        parts: tuple[Picture | str, ...] = tuple(fit_side(each, self.max_side or None) for each in pictures)
        if region is not None:
            box = ", ".join(map(str, grid_box(region, picture.shape[1], picture.shape[0])))
            parts = (*parts, self.asked.region.replace("{box}", box))
        shown = (turn for example in self.examples for turn in self._turns(example))
        return [Message("system", (self.system_text(),)), *shown, Message("user", parts)]

    def _turns(self, example: Example) -> tuple[Message, Message]:
        """What the user shows, and what the model would have answered: as much of it as is known.

        An answer that leaves `defects` out says nothing of where they are; an empty list would say that there are none.
        The line about the picture is the reasoning where the model is to reason, and else the user's.
        """
        answer: dict[str, Any] = {"verdict": example.verdict}
        if example.verdict == "pass":
            answer["defects"] = []
        most, said = self.asked.reasoning_characters, (example.text,) if example.text else ()
        if most and said:
            answer, said = {REASONING: example.text[:most], **answer}, ()
        text = json.dumps(answer, ensure_ascii=False, separators=(",", ":"))
        return Message("user", (fit_side(example.picture, self.max_side or None), *said)), Message("assistant", (text,))

    def system_text(self) -> str:
        asked = self.asked
        text = asked.task.replace("{defects}", ", ".join(self.defect_types)).replace("{most}", str(GRID - 1))
        if self.reference is not None:
            text += f" {asked.reference}"
        if self.tinted:
            text += f" {asked.tinted}"
        if self.report is not None:
            text += f" {asked.report.replace('{schema}', json.dumps(self.report, ensure_ascii=False))}"
        return f"{text} {self.instruction}" if self.instruction else text

    def properties(self) -> dict[str, Schema]:
        """JSON Schema (2020-12) of each property of the answer, in their order."""
        coordinate = {"type": "integer", "minimum": 0, "maximum": GRID - 1}
        box = {"type": "array", "items": coordinate, "minItems": 4, "maxItems": 4}
        defect = {
            "type": "object",
            "properties": {"type": {"enum": list(self.defect_types)}, "box": box},
            "required": ["type", "box"],
            "additionalProperties": False,
        }
        most = self.asked.reasoning_characters
        properties: dict[str, Schema] = {
            **({REASONING: {"type": "string", "maxLength": most}} if most else {}),
            "verdict": {"enum": list(VERDICTS)},
            "defects": {"type": "array", "items": defect, "maxItems": MAX_DEFECTS},
        }
        return properties if self.report is None else properties | {"report": self.report}

    def parse(self, text: str, width: int, height: int) -> tuple[tuple[Defect, ...], Any]:
        """The defects of a complete answer, in pixels of a picture of `width` x `height`, and the report.

        Boxes with crossed corners are put in order; empty ones are left out.

        Raises:
            AnswerError: the text is not an answer in this format.
        """
        try:
            answer: Mapping[str, Any] = load_json(text)
            found = [(item["type"], [int(value) for value in item["box"]]) for item in answer["defects"]]
            report = answer["report"] if self.report is not None else None
        except (ValueError, KeyError, TypeError) as error:
            raise AnswerError(f"the inspection answer is not in the agreed format: {text!r}") from error
        return _in_pixels(found, width, height), report


def _in_pixels(found: Sequence[tuple[str, list[int]]], width: int, height: int) -> tuple[Defect, ...]:
    defects = []
    for kind, (xa, ya, xb, yb) in found:
        x0, x1 = sorted((xa * width / GRID, xb * width / GRID))
        y0, y1 = sorted((ya * height / GRID, yb * height / GRID))
        if x1 > x0 and y1 > y0:
            defects.append(Defect(str(kind), (round(x0, 1), round(y0, 1), round(x1, 1), round(y1, 1))))
    return tuple(defects)


def grid_box(box: Region, width: int, height: int) -> list[int]:
    """A box in pixels in the coordinates of an answer."""
    sizes = (width, height, width, height)
    return [min(max(round(v * GRID / size), 0), GRID - 1) for v, size in zip(box, sizes, strict=True)]


def format_answer(verdict: Verdict, defects: tuple[Defect, ...], width: int, height: int) -> str:
    """The text that a model is trained to write: the inverse of `InspectionTask.parse`."""

    items = [{"type": d.type, "box": grid_box(d.box, width, height)} for d in defects[:MAX_DEFECTS]]
    return json.dumps({"verdict": verdict, "defects": items}, separators=(",", ":"))
