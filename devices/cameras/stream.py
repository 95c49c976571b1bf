"""Streams and video files, read by FFmpeg (PyAV)."""

from __future__ import annotations

import socket
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import av
from av.container import InputContainer
from av.video.stream import VideoStream

from lineside.devices.cameras.shot import DecodedShot
from lineside.devices.cameras.stream_clock import StreamClock
from lineside.devices.errors import CameraCode, CameraError

OPEN_S = 10.0
"""For the address to answer."""
OPTIONS = {"rtsp_transport": "tcp", "flags": "low_delay"}
WHOLE_PICTURES = {"mjpeg", "png", "rawvideo"}
"""Codecs of which each packet is a picture by itself."""


@contextmanager
def open_video(source: str, read_timeout_s: float | None = None) -> Iterator[tuple[InputContainer, VideoStream]]:
    """The file or address, and its first video stream.

    Raises:
        CameraError: it cannot be opened, or what is read from it meanwhile fails, and why.
    """
    try:
        with av.open(source, options=OPTIONS, timeout=(OPEN_S, read_timeout_s)) as container:
            if not container.streams.video:
                raise CameraError(f"{shown(source)} holds no video")
            yield container, container.streams.video[0]
    except av.FFmpegError as error:
        if "://" not in source:
            raise CameraError(f"{source} cannot be opened as a video ({error.strerror})") from None
        code, reason = _explain(error, source, read_timeout_s)
        raise CameraError(f"{shown(source)}: {reason}", code) from None


def read_stream(source: str, read_timeout_s: float) -> Generator[DecodedShot, None, None]:
    """Every frame, as soon as it is there. Ends with the stream.

    Raises:
        CameraError: the stream cannot be opened, breaks off, or sends nothing for `read_timeout_s`.
    """
    with open_video(source, read_timeout_s) as (container, stream):
        clock = StreamClock()
        timed = av.format.Flags.no_timestamps not in av.format.Flags(container.format.flags)
        whole = stream.codec_context.name in WHOLE_PICTURES
        for packet in container.demux(stream):
            arrived = time.monotonic()
            encoded = bytes(packet) if whole else b""
            for frame in decode(packet):
                yield DecodedShot(frame, clock.captured(frame.time if timed else None, arrived), encoded)


def decode(packet: av.Packet[VideoStream]) -> list[av.VideoFrame]:
    """The frames that came of a packet; none where it was damaged on its way."""
    try:
        return packet.decode()
    except av.InvalidDataError:
        return []


def shown(source: str) -> str:
    """Of an address the scheme, host and port. Some cameras want the password in the path."""
    scheme, _, rest = source.partition("?")[0].partition("://")
    return f"{scheme}://{rest.rpartition('@')[2].partition('/')[0]}" if rest else source


def _explain(error: av.FFmpegError, source: str, read_timeout_s: float | None) -> tuple[CameraCode, str]:
    """A code and a sentence, without the address that FFmpeg's message repeats."""
    match error:
        case av.HTTPUnauthorizedError():
            return "camera_login", "401: user or password are missing or wrong"
        case av.HTTPForbiddenError():
            return "camera_login", "403: this user may not see it"
        case av.HTTPNotFoundError():
            return "camera_not_found", "404: there is nothing at this path"
        case av.ConnectionRefusedError():
            return "camera_refused", "the connection is refused: nothing listens at this address and port"
        case av.error.ExitError() | av.error.TimeoutError():
            return "camera_silent", f"nothing was received for {read_timeout_s or OPEN_S:g} s"
    if (host := urlsplit(source).hostname) and not _known(host):
        return "camera_unreachable", f"the name {host!r} is not found"
    return "camera_unreachable", error.strerror or type(error).__name__


def _known(host: str) -> bool:
    try:
        socket.getaddrinfo(host, None)
    except OSError:
        return False
    return True
