"""How a model is asked to inspect a picture, and in what order it answers: the template of a bundle or a station."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import ConfigDict, Field

MOST_REASONING = 4000


@dataclass(frozen=True)
class InspectionTemplate:
    """The sentences of the prompt, one after the other. The default is the wording `lineside/1`.

    Attributes:
        task: what to do; `{defects}` stands for the defect types, `{most}` for the largest coordinate.
        reference: where a reference is shown first.
        tinted: where the picture is coloured by its differences from the reference.
        report: where there is one; `{schema}` stands for its JSON Schema.
        region: behind the picture, where something may be wrong; `{box}` stands for the place.
        reasoning_characters: the model writes so many characters at most, `"reasoning"` in its answer, before the
            verdict; 0 where the verdict comes first.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")
    task: str = (
        "Inspect the part for: {defects}. Answer in JSON: verdict pass, fail or unsure, "
        "defects with type and box x0, y0, x1, y1 from 0 to {most}."
    )
    reference: str = "The first picture shows how the part should be; find what differs in the second."
    tinted: str = "There red is brighter than it should be, and blue darker."
    report: str = "Then report, as this JSON Schema says: {schema}"
    region: str = "Look at {box}."
    reasoning_characters: Annotated[int, Field(ge=0, le=MOST_REASONING)] = 0
