"""A GenICam camera (GigE Vision, USB3 Vision, ...), by `harvesters` and the GenTL producer of its maker."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from lineside.devices.cameras.shot import Pixels, PixelShot
from lineside.devices.errors import CameraError

PRODUCERS = "GENICAM_GENTL64_PATH"
"""The environment variable in which makers name the folders of their producers."""
LOOK_S = 0.5
COLORS = {
    "RGB8": cv2.COLOR_RGB2BGR,
    "RGBa8": cv2.COLOR_RGBA2BGR,
    "BGRa8": cv2.COLOR_BGRA2BGR,
    "Mono8": cv2.COLOR_GRAY2BGR,
    "BayerRG8": cv2.COLOR_BayerRGGB2BGR,
    "BayerGR8": cv2.COLOR_BayerGRBG2BGR,
    "BayerGB8": cv2.COLOR_BayerGBRG2BGR,
    "BayerBG8": cv2.COLOR_BayerBGGR2BGR,
}
DEEP = {"Mono10": 10, "Mono12": 12, "Mono14": 14, "Mono16": 16}
"""Grey in two bytes, at their lower end."""
_LOCK = threading.Lock()
_LOADED: dict[tuple[Path, ...], tuple[Any, int]] = {}
"""By the producers: what has loaded them, and how many cameras use it."""
CHANNELS = {"RGB8": 3, "BGR8": 3, "RGBa8": 4, "BGRa8": 4}


@dataclass(frozen=True)
class GenicamSettings:
    """Attributes:
    source: the camera's serial number, model, user-defined name or id; empty for the only one there is.
    producer: the maker's .cti file; None for all that `GENICAM_GENTL64_PATH` names.
    exposure_ms: 0 for what the camera is set to.
    hardware_trigger: the line, such as Line1, whose edge takes a frame; empty for a camera that runs freely.
    """

    source: str = ""
    producer: Path | None = None
    exposure_ms: float = 0.0
    hardware_trigger: str = ""


def read_genicam(settings: GenicamSettings, timeout_s: float) -> Generator[PixelShot | None, None, None]:
    """Every frame as soon as it is there, None while nothing comes.

    Raises:
        CameraError: no producer or camera, a setting that the camera does not have, a pixel format that is not read, or
            nothing for `timeout_s`; a camera with a hardware trigger may be silent for ever.
    """
    try:
        from genicam.genapi import GenericException as NodeError
        from genicam.gentl import GenericException, TimeoutException
        from harvesters.core import Harvester
    except ImportError as error:
        raise CameraError("this needs another package: pip install 'lineside[genicam]'") from error
    with ExitStack() as stack:
        try:
            acquirer = stack.enter_context(_opened(Harvester, settings))
            set_up(acquirer.remote_device.node_map, settings)
            acquirer.start()
            stack.callback(acquirer.stop)
            last = time.monotonic()
            while True:
                try:
                    with acquirer.fetch(timeout=LOOK_S) as buffer:
                        last = time.monotonic()
                        component = buffer.payload.components[0]
                        bgr = to_bgr(component.data, component.width, component.height, component.data_format)
                    yield PixelShot(bgr, last)
                except TimeoutException:
                    if not settings.hardware_trigger and time.monotonic() - last > timeout_s:
                        raise CameraError(f"the camera gave no frame for {timeout_s:g} s", "camera_silent") from None
                    yield None
        except (GenericException, NodeError, OSError) as error:
            raise CameraError(f"the camera's producer: {str(error).strip()}") from error


@contextmanager
def _opened(make: Callable[[], Any], settings: GenicamSettings) -> Iterator[Any]:
    """The camera. A producer can be loaded once in a process: cameras with the same ones share what has loaded them."""
    producers = tuple(_producers(settings.producer))
    with _LOCK:
        harvester, users = _LOADED.get(producers) or (make(), 0)
        try:
            if not users:
                for path in producers:
                    harvester.add_file(str(path), check_existence=True, check_validity=True)
                harvester.update()  # which would end those that are in use
            acquirer = harvester.create(_find(harvester.device_info_list, settings.source))
        except BaseException:
            if not users:
                harvester.reset()
            raise
        _LOADED[producers] = harvester, users + 1
    try:
        yield acquirer
    finally:
        with _LOCK:
            acquirer.destroy()
            _, users = _LOADED.pop(producers)
            if users > 1:
                _LOADED[producers] = harvester, users - 1
            else:
                harvester.reset()


def _producers(named: Path | None) -> list[Path]:
    if named is not None:
        if not named.is_file():
            raise CameraError(f"`producer`: {named} is not a file", "camera_not_found")
        return [named]
    folders = [Path(part) for part in os.environ.get(PRODUCERS, "").split(os.pathsep) if part]
    found = [path for folder in folders for path in sorted(folder.glob("*.cti"))]
    if not found:
        raise CameraError(
            f"there is no GenTL producer: install that of the camera's maker, and set {PRODUCERS} or `producer` to it",
            "camera_not_found",
        )
    return found


def _find(devices: list[Any], source: str) -> int:
    """Raises CameraError, with what there is."""
    told = [each.property_dict for each in devices]  # what a producer does not know is None there
    names = [{own[key] for key in ("serial_number", "user_defined_name", "id_", "model") if own[key]} for own in told]
    fits = [index for index, own in enumerate(names) if not source or source in own]
    if len(fits) == 1:
        return fits[0]
    there = ", ".join(f"{own['model']} with serial number {own['serial_number']}" for own in told) or "none"
    said = f"{len(fits)} cameras are {source!r}" if source else "say in `source` which camera"
    raise CameraError(f"{said}; there are: {there}", "camera_not_found")


def set_up(nodes: Any, settings: GenicamSettings) -> None:
    """By the names of the Standard Features Naming Convention (SFNC). Raises CameraError where the camera has none."""
    if settings.exposure_ms:
        if hasattr(nodes, "ExposureAuto"):
            nodes.ExposureAuto.value = "Off"
        time_node = _node(nodes, ("ExposureTime", "ExposureTimeAbs"), "exposure_ms")
        wanted_us = settings.exposure_ms * 1000
        low, high = float(time_node.min), float(time_node.max)
        if not low <= wanted_us <= high:
            raise CameraError(
                f"`exposure_ms` {settings.exposure_ms:g}: the camera takes {low / 1e3:g} to {high / 1e3:g}"
            )
        time_node.value = wanted_us
    if settings.hardware_trigger:
        if hasattr(nodes, "TriggerSelector"):
            nodes.TriggerSelector.value = "FrameStart"
        mode = _node(nodes, ("TriggerMode",), "hardware_trigger")
        source = _node(nodes, ("TriggerSource",), "hardware_trigger")
        if settings.hardware_trigger not in source.symbolics:
            told = f"`hardware_trigger` {settings.hardware_trigger!r}: the camera has {', '.join(source.symbolics)}"
            raise CameraError(told)
        source.value = settings.hardware_trigger
        mode.value = "On"


def _node(nodes: Any, names: tuple[str, ...], key: str) -> Any:
    for name in names:
        if hasattr(nodes, name):
            return getattr(nodes, name)
    raise CameraError(f"`{key}`: the camera has no {names[0]}; leave the key out, and set it with the maker's program")


def to_bgr(data: Any, width: int, height: int, pixel_format: str) -> Pixels:
    """A copy, `(height, width, 3)`. Raises CameraError where the format is not read."""
    values = np.asarray(data)
    if pixel_format in DEEP:
        grey = (values.reshape(height, width).astype(np.uint32) >> (DEEP[pixel_format] - 8)).clip(0, 255)
        return np.repeat(grey.astype(np.uint8)[:, :, None], 3, axis=2)
    if pixel_format == "BGR8":
        return values.reshape(height, width, 3).astype(np.uint8, copy=True)
    if pixel_format in COLORS:
        channels = CHANNELS.get(pixel_format, 1)
        shape = (height, width, channels) if channels > 1 else (height, width)
        return np.asarray(cv2.cvtColor(values.reshape(shape), COLORS[pixel_format]), np.uint8)
    known = ", ".join(sorted({*COLORS, *DEEP, "BGR8"}))
    raise CameraError(f"the pixel format {pixel_format} is not read: set the camera to one of {known}")
