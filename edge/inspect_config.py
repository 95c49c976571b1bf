"""What the station file says of inspections."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from lineside.edge.tool_config import DAY_S, STRICT
from lineside.runtime.defaults import DEFAULT_MAX_PIXELS


@dataclass(frozen=True, config=STRICT)
class InspectConfig:
    """What is looked for, and what is made of the probability of a defect."""

    defect_types: tuple[str, ...] = ("pitting",)
    """The kinds of defects that the model may name."""
    instruction: str = ""
    """A sentence of yours about the part, for the model."""
    part: str = ""
    """What the pictures show, by the name that the bundle gives to what its model was taught (the default model:
    `ball screw` or `circuit board`). Of any other part, and where it is not said, the model's own verdict is
    `unsure` until `lineside learn` or `lineside calibrate` has seen pictures of yours."""
    template: str = ""
    """A TOML file with sentences and the order of the answer, in place of the bundle's own: see
    `docs/general-model.md`."""
    examples: str = ""
    """A folder with `pass` and `fail` below it, of at most 16 pictures: the model is shown them, with their verdicts,
    before each frame. `NAME.txt` beside a picture holds a line about it. A camera with a `reference` is shown none."""
    pass_below: Annotated[float, Field(ge=0, le=1)] = 0.35
    """Up to this probability of a defect the verdict is `pass`."""
    fail_above: Annotated[float, Field(ge=0, le=1)] = 0.65
    """From this one it is `fail`; in between `unsure`."""
    any_way_up: bool = True
    """Test-time augmentation, for a model that was taught so: a frame is shown once more, rotated by half a turn, where
    that may change the verdict, and a third time for the defects where the rotated view alone raised suspicion."""
    max_pixels: Annotated[int, Field(ge=1)] = DEFAULT_MAX_PIXELS
    """A larger picture is rejected."""
    max_age_s: Annotated[float, Field(gt=0, le=DAY_S)] = 10.0
    """A frame that is older when its turn comes is rejected."""
    deadline_s: Annotated[float, Field(ge=0, le=DAY_S)] = 0.0
    """An inspection is ended when its frame is older than that, wherever it is; 0 for none."""
    evidence_folder: str = ""
    """Where pictures with their boxes drawn are kept, from the data folder; nowhere where it is empty."""
