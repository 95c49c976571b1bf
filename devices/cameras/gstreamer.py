"""A GStreamer pipeline as a camera, run by `gst-launch-1.0`: its frames come through a pipe.

The wheels of OpenCV have no GStreamer. A plugin that crashes takes nothing along that is not in its own program.
"""

from __future__ import annotations

import fcntl
import os
import re
import select
import shlex
import signal
import subprocess
import time
from collections.abc import Generator
from contextlib import suppress

import numpy as np

from lineside.devices.cameras.masking import masked
from lineside.devices.cameras.shot import PixelShot
from lineside.devices.errors import CameraError

PROGRAM = "gst-launch-1.0"
ENDING = ("!", "videoconvert", "!", "capsfilter", "name=lineside", "caps=video/x-raw,format=BGR", "!", "fdsink")
CAPS = re.compile(rb"GstCapsFilter:lineside\.GstPad:src: caps = [^\n]*\n")
SIZE = re.compile(rb"width=\(int\)(\d+), height=\(int\)(\d+)")
LOOK_S = 0.5
"""How often a reader that gets nothing looks whether it is to end."""
ENDS_S = 2.0
"""For the program to end when it is asked to."""
PIPE_BYTES = 1 << 20
READ_BYTES, KEPT_BYTES = 65536, 16384
"""Of what it says."""


def read_gstreamer(pipeline: str, timeout_s: float) -> Generator[PixelShot | None, None, None]:
    """Every frame as soon as it is there, None while nothing comes. Ends with the pipeline.

    Args:
        pipeline: as for `gst-launch-1.0`, up to raw video of any format.

    Raises:
        CameraError: the program is not there, the pipeline cannot be built, fails, or gives nothing for `timeout_s`.
    """
    with_data, for_data = os.pipe()
    with suppress(OSError):  # more than may be had
        fcntl.fcntl(with_data, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    try:
        process = _start(pipeline, for_data)
    except BaseException:
        os.close(with_data)
        raise
    finally:
        os.close(for_data)
    try:
        yield from _Reader(process, with_data, timeout_s).shots()
    finally:
        os.close(with_data)
        _end(process)


def _start(pipeline: str, for_data: int) -> subprocess.Popen[bytes]:
    try:
        words = shlex.split(pipeline)
    except ValueError as error:
        raise CameraError(f"the pipeline cannot be read ({error}): its quotes do not match") from None
    try:
        return subprocess.Popen(
            [PROGRAM, "-v", *words, *ENDING, f"fd={for_data}"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=(for_data,),
            start_new_session=True,
            env=os.environ | {"LC_ALL": "C", "NO_COLOR": "1"},
        )
    except OSError as error:
        told = f"{PROGRAM} cannot be started ({error.strerror}): install gstreamer1.0-tools, and the plugins it needs"
        raise CameraError(told) from error


def _end(process: subprocess.Popen[bytes]) -> None:
    """With all that it has started."""
    for kind in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, kind)
        with suppress(subprocess.TimeoutExpired):
            process.wait(ENDS_S)
            break
    if process.stdout is not None:
        process.stdout.close()


class _Reader:
    """Takes apart what a running pipeline says and sends."""

    def __init__(self, process: subprocess.Popen[bytes], data: int, timeout_s: float) -> None:
        assert process.stdout is not None
        self._process, self._said, self._data = process, process.stdout.fileno(), data
        self._timeout_s = timeout_s
        self._talks = True
        self._text = b""
        self._caps = b""
        self._width = self._stride = 0
        self._buffer, self._filled, self._began = bytearray(), 0, 0.0

    def shots(self) -> Generator[PixelShot | None, None, None]:
        last = time.monotonic()
        while self._talks or self._buffer:
            reading = [*([self._said] if self._talks else []), *([self._data] if self._buffer else [])]
            ready = select.select(reading, [], [], LOOK_S)[0]
            if self._said in ready:
                self._listen()
            if self._data in ready:
                if not self._receive():
                    break
                if self._filled == len(self._buffer):
                    last = time.monotonic()
                    yield self._shot()
            if time.monotonic() - last > self._timeout_s:
                raise CameraError(f"the pipeline gave no frame for {self._timeout_s:g} s", "camera_silent")
            if not ready:
                yield None
        self._explain()

    def _listen(self) -> None:
        """To where it says the size of its frames, and what is wrong. Raises CameraError where the size changes."""
        told = os.read(self._said, READ_BYTES)
        self._talks = bool(told)
        self._text = (self._text + told)[-KEPT_BYTES:]
        for line in CAPS.findall(self._text):
            if (size := SIZE.search(line)) is None or line == self._caps:
                continue
            if self._caps:
                raise CameraError("the size of the pipeline's frames has changed", "camera_ended")
            self._caps, self._width = line, int(size[1])
            self._stride = (3 * self._width + 3) // 4 * 4  # GStreamer's rows begin at multiples of four bytes
            self._buffer = bytearray(self._stride * int(size[2]))

    def _receive(self) -> bool:
        """More of a frame; False at the end."""
        if not self._filled:
            self._began = time.monotonic()
        got = os.readv(self._data, [memoryview(self._buffer)[self._filled :]])
        self._filled += got
        return got > 0

    def _shot(self) -> PixelShot:
        rows = np.frombuffer(self._buffer, np.uint8).reshape(-1, self._stride)
        bgr = np.ascontiguousarray(rows[:, : 3 * self._width]).reshape(len(rows), self._width, 3)
        self._buffer, self._filled = bytearray(len(self._buffer)), 0
        return PixelShot(bgr, self._began)

    def _explain(self) -> None:
        """Raises CameraError where it did not end by itself."""
        try:
            code = self._process.wait(ENDS_S)
        except subprocess.TimeoutExpired:
            code = 0
        if code:
            lines = [line.strip() for line in self._text.decode("utf-8", "replace").splitlines()]
            found = [line.partition(": ")[2] for line in lines if line.startswith(("WARNING: erroneous", "ERROR: "))]
            reason = masked(found[0]) if found else f"it ended with {code}"
            raise CameraError(f"the pipeline failed: {reason}")
