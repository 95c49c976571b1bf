"""What can go wrong at a wire.

DeviceError
├── CameraError        the camera cannot be opened or has stopped giving pictures; carries a code
├── LinkError          a controller, a server or a pin cannot be reached, or refuses
└── AcceleratorError   the GPU's driver fails
    └── DriverMissing  there is none
"""

from __future__ import annotations

from typing import Literal

CameraCode = Literal[
    "camera_failed",
    "camera_login",
    "camera_not_found",
    "camera_refused",
    "camera_unreachable",
    "camera_ended",
    "camera_silent",
    "camera_frozen",
    "camera_black",
]


class DeviceError(Exception):
    """Base of everything that `devices` raises on purpose."""


class CameraError(DeviceError):
    """Raised with a machine-readable `code` and a sentence that says why."""

    def __init__(self, message: str, code: CameraCode = "camera_failed") -> None:
        super().__init__(message)
        self.code = code


class LinkError(DeviceError):
    """Raised with one sentence that names the other side and says why."""


class AcceleratorError(DeviceError):
    pass


class DriverMissing(AcceleratorError):
    pass
