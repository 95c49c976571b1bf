"""What the station file says of a camera."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from lineside.edge.tool_config import DAY_S, STRICT
from lineside.runtime.defaults import LARGEST_SIDE


@dataclass(frozen=True, config=STRICT)
class CameraConfig:
    """`[cameras.NAME]`: where frames come from, and what is looked for in them."""

    kind: Literal["folder", "video", "gstreamer", "genicam", "mqtt"]
    """`folder` looks at every picture of a folder; `video` a file, a stream or a device, of which the newest frame
    counts; `gstreamer` a pipeline, `genicam` an industrial camera; `mqtt` takes what is sent to `frame/NAME`. See
    `docs/cameras.md`."""
    source: str = ""
    """The folder or file, from the station file's folder; an address such as `rtsp://...`; a device, such as `0`; a
    pipeline such as `v4l2src ! jpegdec`; a GenICam camera's serial number or name, where there are several."""
    producer: str = ""
    """Of kind `genicam`: the camera maker's `.cti` file; all that `GENICAM_GENTL64_PATH` names where it is empty."""
    size: tuple[int, int] = (0, 0)
    """`[width, height]` that a device is set to; zeros for what it gives by itself."""
    fps: Annotated[float, Field(ge=0, le=1000)] = 0.0
    """Frames a second that a device is set to; 0 for what it gives by itself."""
    exposure_ms: Annotated[float, Field(ge=0, le=60_000)] = 0.0
    """Exposure of a device or of a GenICam camera; 0 for what it is set to."""
    hardware_trigger: str = ""
    """Of kind `genicam`: the camera's own input, such as `Line1`, whose edge takes a frame."""
    interval_s: Annotated[float, Field(ge=0, le=DAY_S)] = 0.0
    """Seconds between two frames; 0 takes them as fast as the source gives them. With `mqtt` one is expected so often;
    0 where nobody knows."""
    loop: bool = False
    """Whether a folder or file begins again at its end."""
    watch: bool = False
    """Whether a folder is a queue: pictures that come while the station runs are looked at too, each once, the oldest
    first. What was looked at is remembered over a restart; no file is moved."""
    part_id: str = ""
    """The part that its pictures show, in each result, where whoever sends a frame does not say it."""
    part_id_pattern: str = ""
    """A regular expression that is looked for in the name of a frame's file; its first group is the part, such as
    `^([A-Z0-9-]+)_` of `A-17_front.png`. Where it is not found, `part_id` counts."""
    rotate: Literal[0, 90, 180, 270] = 0
    """By so many degrees, clockwise, each picture is turned first, the reference and those that are learnt from too.
    Boxes are in pixels of the turned frame."""
    region: tuple[int, int, int, int] | None = None
    """`[x, y, width, height]` of what is looked at, in pixels of the turned frame; all of it where it is left out.
    Boxes and evidence are of the whole frame."""
    max_side: Annotated[int, Field(ge=0, le=LARGEST_SIDE)] = 0
    """The longer side of what the model is shown, 448 to 1540 pixels: how many image tokens a look may cost. 0 for as
    many as the model takes. The gate looks at all pixels."""
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
