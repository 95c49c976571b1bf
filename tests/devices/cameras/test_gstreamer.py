"""A real pipeline, in a program of its own."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Generator
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import cast

import numpy as np
import pytest

from lineside.devices.cameras.camera import CameraSettings, open_camera
from lineside.devices.cameras.frame import Frame
from lineside.devices.cameras.gstreamer import PROGRAM, read_gstreamer
from lineside.devices.cameras.live import LiveCamera
from lineside.devices.cameras.masking import masked
from lineside.devices.errors import CameraError

PATIENCE_S = 120.0
needs_gstreamer = pytest.mark.skipif(shutil.which(PROGRAM) is None, reason=f"{PROGRAM}: gstreamer1.0-tools is missing")


def children() -> set[str]:
    """Command lines of what this process has started and that still runs."""
    found = set()
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            head, _, rest = status.read_text().rpartition(")")
            state, parent = rest.split()[:2]
            if int(parent) == os.getpid() and state != "Z" and "gst-launch" in head:
                found.add((status.parent / "cmdline").read_text())
        except OSError:
            continue
    return found


@needs_gstreamer
@pytest.mark.parametrize("width", [320, 321])
def test_a_pipeline_s_frames_have_its_size_and_colours(width: int) -> None:
    """Rows are padded where their length is no multiple of four bytes."""
    pipeline = f"videotestsrc num-buffers=2 pattern=red ! video/x-raw,width={width},height=40"
    with closing(read_gstreamer(pipeline, PATIENCE_S)) as shots:
        pixels = [shot.rgb() for shot in shots if shot is not None]
    assert [each.shape for each in pixels] == [(40, width, 3)] * 2
    assert (np.abs(pixels[1].astype(int) - (255, 0, 0)) < 6).all()
    assert not children()


@needs_gstreamer
@pytest.mark.parametrize(
    ("pipeline", "said"),
    [
        ("nosuchsrc", 'no element "nosuchsrc"'),
        ("audiotestsrc", "could not link audiotestsrc0 to videoconvert0"),
        ("videotestsrc ! (", "syntax error"),
        ("filesrc location=/none.mp4 ! decodebin", "Resource not found"),
        ("videotestsrc 'x", "quotes do not match"),
    ],
)
def test_a_pipeline_that_cannot_run_says_why(pipeline: str, said: str) -> None:
    with pytest.raises(CameraError, match=said), closing(read_gstreamer(pipeline, PATIENCE_S)) as shots:
        list(shots)


@needs_gstreamer
def test_a_pipeline_that_stops_is_opened_anew_and_ends_with_the_camera() -> None:
    """Its second life is a second program; closing the camera ends that in the middle of a stream."""
    settings = CameraSettings("cam", "gstreamer", "videotestsrc num-buffers=1 ! video/x-raw,width=32,height=32")
    camera = open_camera(settings, Path())
    assert isinstance(camera, LiveCamera)
    stop = threading.Event()
    with closing(cast("Generator[Frame, None, None]", camera.frames(stop))) as frames:
        first = next(frames)
        assert first.pixels is not None
        assert first.pixels.shape == (32, 32, 3)
    with closing(read_gstreamer("videotestsrc is-live=true ! video/x-raw,width=32,height=32", PATIENCE_S)) as shots:
        next(shot for shot in shots if shot is not None)
        assert children()
    assert not children()


@needs_gstreamer
def test_a_silent_pipeline_says_so_and_can_be_ended() -> None:
    silent = "appsrc caps=video/x-raw,format=BGR,width=32,height=32,framerate=1/1"
    with closing(read_gstreamer(silent, PATIENCE_S)) as shots:
        assert list(islice(shots, 2)) == [None, None], "so that whoever reads can end it"
        assert children()
    assert not children()
    with (
        pytest.raises(CameraError, match=r"no frame for 0\.1 s") as caught,
        closing(read_gstreamer(silent, 0.1)) as shots,
    ):
        list(shots)
    assert caught.value.code == "camera_silent"
    assert not children()


def test_a_missing_program_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CameraError, match=r"gst-launch-1.0 cannot be started .*install gstreamer1.0-tools"):
        next(read_gstreamer("videotestsrc", PATIENCE_S))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("rtspsrc location=rtsp://me:secret@cam/x ! y", "rtspsrc location=rtsp://***@cam/x ! y"),
        ('rtspsrc user-id=me user-pw="secret" ! y', "rtspsrc user-id=*** user-pw=*** ! y"),
        ("souphttpsrc location=http://cam/x?pwd=secret ! y", "souphttpsrc location=http://cam/x?*** ! y"),
        ("could not link a to b", "could not link a to b"),
    ],
)
def test_secrets_do_not_show(text: str, shown: str) -> None:
    assert masked(text) == shown
