"""What can go wrong at a wire.

DeviceError
├── CameraError        the camera cannot be opened or has stopped giving pictures
└── AcceleratorError   the GPU's driver fails
    └── DriverMissing  there is none
"""

from __future__ import annotations


class DeviceError(Exception):
    """Base of everything that `devices` raises on purpose."""


class CameraError(DeviceError):
    pass


class AcceleratorError(DeviceError):
    pass


class DriverMissing(AcceleratorError):
    pass
