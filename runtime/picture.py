"""Pictures on their way to the vision tower: safe decoding, and normalized pixels to patches."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile

from lineside.runtime.chat import Picture
from lineside.runtime.defaults import DEFAULT_MAX_PIXELS
from lineside.runtime.errors import PictureTooLarge, PictureUndecodable
from lineside.runtime.manifest import ImageSettings
from lineside.runtime.picture_kinds import READ, READ_NAMES, other_kind, webp_size
from lineside.runtime.pixel_format import NEW_SUBFILE_TYPE, to_rgb

JPEG_SCAN, JPEG_END, PNG_END = b"\xff\xda", b"\xff\xd9", b"IEND"
SCANS = re.compile(JPEG_SCAN)
"""Counts three times as fast as `bytes.count`."""
MAX_SCANS = 32
"""Of a JPEG: each goes over the whole picture once more. A progressive one has about 10."""
MAX_PAGES = 16
"""Of a TIFF that are looked at to tell a picture of its own from a smaller copy of the first."""
MEAN = np.asarray([0.48145466, 0.4578275, 0.40821073], np.float32)
DEVIATION = np.asarray([0.26862954, 0.26130258, 0.27577711], np.float32)
"""How Pixtral's pixels are normalized (mistral-common's constants)."""


def decode_picture(data: bytes, max_pixels: int = DEFAULT_MAX_PIXELS) -> Picture:
    """Decode a JPEG, PNG, BMP, TIFF or WebP to RGB, `(height, width, 3)` uint8, upright as its EXIF orientation says.

    The size is read from the header before any pixel is decoded. Pillow rather than OpenCV decodes, because it
    reports a truncated file where OpenCV fills the rest with grey, and because mistral-common decodes with it.

    Raises:
        PictureUndecodable: no bytes, of another kind, cut short, in more than `MAX_SCANS` passes, of several pages, or
            in a pixel format of which 8-bit RGB cannot be made (`runtime.pixel_format`).
        PictureTooLarge: more than `max_pixels` pixels. It is not shrunk: boxes are in the pixels of the frame.
    """
    with _opened(data, max_pixels) as image:
        return to_rgb(image, data)


def check_picture(data: bytes, max_pixels: int = DEFAULT_MAX_PIXELS) -> None:
    """What can be told of a picture without decoding it, in about 0.1 ms. Raises as `decode_picture`."""
    with _opened(data, max_pixels) as image:
        if image.format in ("BMP", "TIFF"):
            return  # they say where the pixels are, in any order: what is missing is found when they are read
        jpeg = image.format not in ("PNG", "WEBP")  # MPO, as phones write it, begins with a whole JPEG
        if image.format == "WEBP":
            whole = len(data) >= int.from_bytes(data[4:8], "little") + 8
        else:
            end = data.rfind(JPEG_END if jpeg else PNG_END)
            whole = end >= 0 and not (jpeg and data.find(JPEG_SCAN, end) >= 0)
        if not whole:
            raise PictureUndecodable(f"the picture is cut short ({len(data)} bytes, and no end)")


def fit_side(picture: Picture, max_side: int | None) -> Picture:
    """The picture, shrunk where its longer side has more than `max_side` pixels; None leaves it as it is.

    A model is shown ceil(width / t) x ceil(height / t) tokens of it, t being a token's side: this is what a look costs.
    """
    height, width = picture.shape[:2]
    if max_side is None or max(height, width) <= max_side:
        return picture
    scale = max_side / max(height, width)
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA).astype(picture.dtype, copy=False)


@contextmanager
def _opened(data: bytes, max_pixels: int) -> Iterator[Image.Image]:
    if not data:
        raise PictureUndecodable("the picture is empty (0 bytes)")
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":  # its decoder takes memory for the picture when it is opened
        _check_size(*webp_size(data), max_pixels)
    try:
        with Image.open(io.BytesIO(data), formats=READ) as image:
            _check_size(*image.size, max_pixels)
            if image.format in ("JPEG", "MPO") and (scans := len(SCANS.findall(data))) > MAX_SCANS:
                raise PictureUndecodable(f"a JPEG in {scans} scans takes too long; at most {MAX_SCANS}: save it anew")
            if image.format in ("TIFF", "WEBP"):
                _check_pages(image)
            yield image
    except UnidentifiedImageError as error:
        if kind := other_kind(data):
            raise PictureUndecodable(f"{kind} is not read: save it as JPEG or PNG") from error
        raise PictureUndecodable(f"{len(data)} bytes that are no {READ_NAMES}") from error
    except Image.DecompressionBombError as error:
        raise PictureTooLarge(
            f"the picture has too many pixels; the limit is {max_pixels / 1e6:.1f} megapixels"
        ) from error
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise PictureUndecodable(f"the picture is damaged or cut short ({error})") from error


def _check_size(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise PictureTooLarge(
            f"the picture has {width} x {height} = {width * height / 1e6:.1f} megapixels; "
            f"the limit is {max_pixels / 1e6:.1f}"
        )


def _check_pages(image: Image.Image) -> None:
    """Raises PictureUndecodable where it is not clear which picture is meant. Smaller copies behind a TIFF's first
    picture are none of their own."""
    if not isinstance(image, TiffImageFile):
        if getattr(image, "n_frames", 1) > 1:
            raise PictureUndecodable("a WebP that moves: save the one picture that is to be looked at by itself")
        return
    if int(image.tag_v2.get(NEW_SUBFILE_TYPE, 0)) & 1:
        raise PictureUndecodable("the file begins with a preview, as a camera's raw file does: save it as JPEG or PNG")
    for page in range(1, MAX_PAGES + 1):
        try:
            image.seek(page)
        except EOFError:
            break
        if page == MAX_PAGES or not int(image.tag_v2.get(NEW_SUBFILE_TYPE, 0)) & 1:
            raise PictureUndecodable("a TIFF of several pages: save the one that is to be looked at by itself")
    image.seek(0)


def to_pixels(picture: Picture, longest: int, settings: ImageSettings) -> npt.NDArray[np.float32]:
    """A picture scaled so that its longer side has about `longest` pixels, normalized: `(3, H, W)`.

    Both sides become multiples of an image token's.
    """
    side = settings.patch_size * settings.spatial_merge_size
    height, width = picture.shape[:2]
    scale = longest / max(height, width)
    size = tuple(max(round(length * scale / side), 1) * side for length in (width, height))
    scaled = cv2.resize(np.ascontiguousarray(picture), size, interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(((scaled / np.float32(255) - MEAN) / DEVIATION).transpose(2, 0, 1), np.float32)
