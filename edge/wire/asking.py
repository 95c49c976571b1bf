"""`cmd/ask`: what may be asked, and what the reply says of the pictures that were looked at."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from lineside.runtime.defaults import LARGEST_SIDE, SMALLEST_SIDE

MAX_CAMERAS, MAX_FRAMES, MAX_OVER_S = 8, 16, 60.0


class ImageReference(BaseModel):
    """A picture below the station's folder instead of one in the command."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    path: str
    sha256: str = Field(pattern="^[0-9a-f]{64}$")


class AskCommand(BaseModel):
    """The body of `cmd/ask` as JSON; plain text is taken as `text`.

    `tool_choice` is auto, required (some call), none (a text), or the name of the tool to call. It asks for a call, and
    does not allow one. `conversation` names the conversation that the command belongs to, among those of this response
    topic.

    With `cameras`, `image` or `schema` it is a question: it is answered, and nothing is called. `cameras` shows the
    newest frame of each, none older than `max_age_s` (the station's `inspect.max_age_s` where it is left out); of one
    camera `frames` pictures are taken from now on, spread over `over_s` seconds. `image` is a picture in base64, or a
    file below the station's folder with its SHA-256. A picture is shrunk until its longer side has `max_side` pixels.
    `schema` is a JSON Schema that `answer` of the reply satisfies. With `snapshot` the last picture of each camera is
    published on `snapshot/{camera}`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    text: str = Field(min_length=1, max_length=8000)
    transaction: str = Field(default="", max_length=200)
    conversation: str = Field(default="", max_length=200)
    max_tokens: int | None = Field(default=None, ge=1, le=4096)
    expires_at: datetime | None = None
    tool_choice: str = Field(default="auto", max_length=64)
    cameras: tuple[str, ...] = Field(default=(), max_length=MAX_CAMERAS)
    frames: int = Field(default=1, ge=1, le=MAX_FRAMES)
    over_s: float = Field(default=0.0, ge=0.0, le=MAX_OVER_S)
    image: str | ImageReference | None = None
    max_age_s: float | None = Field(default=None, gt=0.0, le=86400.0)
    max_side: int | None = Field(default=None, ge=SMALLEST_SIDE, le=LARGEST_SIDE)
    answer_schema: dict[str, Any] | None = Field(default=None, alias="schema")
    snapshot: bool = False

    @property
    def shows(self) -> bool:
        """Whether it comes with pictures."""
        return bool(self.cameras) or self.image is not None

    @property
    def is_question(self) -> bool:
        return self.shows or self.answer_schema is not None

    @model_validator(mode="after")
    def _fits_together(self) -> AskCommand:
        if len(set(self.cameras)) < len(self.cameras):
            raise ValueError("`cameras` names one twice")
        if self.frames > 1 and (len(self.cameras) != 1 or not self.over_s):
            raise ValueError("`frames` are those of one camera, over `over_s` seconds")
        if self.over_s and self.frames == 1:
            raise ValueError("`over_s` is the time of several `frames`")
        if self.snapshot and not self.cameras:
            raise ValueError("`snapshot` shows a frame of `cameras`, and there are none")
        if self.is_question and self.tool_choice not in ("auto", "none"):
            raise ValueError("a question with `cameras`, `image` or `schema` calls nothing: leave out `tool_choice`")
        return self


class ShownFrame(BaseModel):
    """A picture that the model was shown; `camera` is empty where it came with the command.

    `age_s` is how old it was when it was taken for the question, `sha256` that of its file or pixels.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    camera: str = ""
    name: str = ""
    captured_at: datetime | None = None
    age_s: float | None = None
    width: int
    height: int
    sha256: str
