"""The pictures of a camera, as they are looked at: everything that shows one to a model or a gate gets it here."""

from __future__ import annotations

from lineside.devices.cameras.frame import Frame
from lineside.edge.camera_config import CameraConfig
from lineside.runtime.chat import Picture
from lineside.runtime.inspection.preparation import Preparation
from lineside.runtime.picture import decode_picture


def preparation_of(camera: CameraConfig) -> Preparation:
    return Preparation(camera.rotate, camera.region)


def upright_picture(data: bytes, preparation: Preparation, max_pixels: int) -> Picture:
    """A picture file of the camera as the whole frame that boxes are of. Raises PictureError."""
    return preparation.upright(decode_picture(data, max_pixels))


def upright_frame(frame: Frame, preparation: Preparation, max_pixels: int) -> Picture:
    """The same of a frame on its way, which has a picture file or pixels. Raises PictureError."""
    if frame.pixels is not None:
        return preparation.upright(frame.pixels)
    return upright_picture(frame.data or b"", preparation, max_pixels)
