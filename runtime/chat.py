"""What is said to the model: messages, pictures, tools and tool results."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from lineside.runtime.errors import PictureEmpty

Picture = npt.NDArray[np.uint8]
"""An RGB picture, `(height, width, 3)` uint8."""


def check_pixels(picture: npt.NDArray[Any]) -> None:
    """Raises PictureEmpty: it has no pixels, or another shape or type than a `Picture`."""
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or not picture.size:
        raise PictureEmpty(
            f"a picture is (height, width, 3) uint8 with at least one pixel, not {picture.shape} {picture.dtype}"
        )


Role = Literal["system", "developer", "user", "assistant", "tool"]
"""`developer` is another word for `system`."""


@dataclass(frozen=True)
class ToolCall:
    """A function call as the model wrote it; `id` is nine letters or digits (Mistral's format)."""

    id: str
    name: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True)
class Tool:
    """A function that the model may call; `parameters` is a JSON Schema of an object."""

    name: str
    description: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True)
class Message:
    """One turn. `content` mixes text and, of a user, pictures; `tool_call_id` belongs to role `tool`."""

    role: Role
    content: tuple[str | Picture, ...] = ()
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str = ""


@dataclass(frozen=True)
class Prompt:
    """A tokenized conversation.

    Attributes:
        ids: token ids, `(T,)` int64.
        pixels: one normalized picture per element, each `(3, height, width)` float32, in the order in
            which their [IMG] tokens stand in `ids`.
    """

    ids: npt.NDArray[np.int64]
    pixels: tuple[npt.NDArray[np.float32], ...] = field(default=())
