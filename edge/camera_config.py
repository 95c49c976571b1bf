"""What the station file says of a camera."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from lineside.edge.tool_config import DAY_S, STRICT


@dataclass(frozen=True, config=STRICT)
class CameraConfig:
    """`[cameras.NAME]`: where frames come from, and what is looked for in them."""

    kind: Literal["folder", "video", "mqtt"]
    """`folder` plays every picture of a folder; `video` a file, a stream or a device, of which the newest frame counts;
    `mqtt` takes what is sent to `frame/NAME`."""
    source: str = ""
    """The folder or file, from the station file's folder; an address such as `rtsp://...`; a device, such as `0`."""
    interval_s: Annotated[float, Field(ge=0, le=DAY_S)] = 0.0
    """Seconds between two frames; 0 takes them as fast as the source gives them. With `mqtt` one is expected so often;
    0 where nobody knows."""
    loop: bool = False
    """Whether a folder or file begins again at its end."""
    black_after: Annotated[int, Field(ge=0)] = 0
    """After so many black frames in a row (their mean is below 5 of 255) a stream or device is stale and gives no
    results; 0 for never."""
    part: str = ""
    """What this camera's pictures show, in place of `inspect.part`."""
    defect_types: tuple[str, ...] = ()
    """What this camera looks for, in place of `inspect.defect_types`."""
    instruction: str = ""
    """A sentence about this camera's part, in place of `inspect.instruction`."""
    schema: str = ""
    """A file with a JSON Schema: each result has a `report` that satisfies it."""
    reference: str = ""
    """A picture of a part without defects, from the same side: each frame is compared with it."""
    any_way_up: bool | None = None
    """Test-time augmentation for this camera, in place of `inspect.any_way_up`."""
    examples: str = ""
    """A folder of pictures that the model is shown before this camera's frames, in place of `inspect.examples`."""
    enabled: bool = True
    """`false` switches the camera off: it is not read, and what is sent to it is rejected."""
    inspected: bool = True
    """`false` switches its inspection off: it is read and watched, and its frames have no results."""
