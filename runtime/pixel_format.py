"""From what a picture file holds to what the model is shown: 8-bit RGB, the right way up."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from lineside.runtime.errors import PictureUndecodable

ORIENTATION = 0x0112
"""The EXIF tag; its values 2 to 8 say what makes the picture upright."""
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
OPAQUE = ("1", "L", "P", "RGB", "RGBX", "CMYK", "YCbCr", "HSV")
LAYERED = {"LA": "RGBA", "PA": "RGBA", "RGBA": "RGBA", "RGBa": "RGBA", "La": "LA"}
"""With transparency, and what each is converted to first."""
DEEP = ("I;16", "I;16L", "I;16B", "I;16N", "I")
"""Grey in 16 bits; `I` is how some versions of Pillow give it."""
PNG_START = b"\x89PNG\r\n\x1a\n"
DEPTH_AT = 24
"""Where a PNG says the bits of a sample."""
NEW_SUBFILE_TYPE, BITS_PER_SAMPLE, PHOTOMETRIC, SAMPLE_FORMAT = 254, 258, 262, 339
"""Tags of a TIFF."""
DEEPEST, TWELVE_BITS = 65535, 4096
ADVICE = (
    "it holds 12 bits or fewer, or is nearly black: shift the values up to 16 bits before saving, or write their bits "
    "into the PNG's sBIT chunk"
)


def to_rgb(image: Image.Image, data: bytes) -> npt.NDArray[np.uint8]:
    """The picture `data`, which is opened as `image`, `(height, width, 3)`: upright, transparency on white.

    16-bit grey is scaled by its bits: what a PNG's sBIT chunk or a TIFF's BitsPerSample says, else 16. Nothing is cut
    off.

    Raises PictureUndecodable where it is in a format that has no such form, or where its bits cannot be told.
    """
    image.load()
    depth = _depth(image, data)
    if image.mode in DEEP:
        return np.repeat(_upright_array(_deep_grey(image, data, depth), image)[:, :, None], 3, axis=2)
    if depth == 16 and max(_most(band) for band in image.split()[:3]) < TWELVE_BITS >> 8:
        raise PictureUndecodable(f"a 16-bit picture without a value from {TWELVE_BITS} on: {ADVICE}")
    if image.mode in LAYERED or (image.mode in OPAQUE and "transparency" in image.info):
        layered = image.convert(LAYERED.get(image.mode, "RGBA")).convert("RGBA")
        white = Image.new("RGBA", layered.size, "WHITE")
        white.alpha_composite(layered)
        rgb = white.convert("RGB")
    elif image.mode in OPAQUE:
        rgb = image.convert("RGB")
    else:
        raise PictureUndecodable(f"the picture's pixel format {image.mode} is not supported: save it as RGB or grey")
    return _upright_array(np.asarray(rgb, np.uint8), image)


def _upright_array(array: npt.NDArray[np.uint8], image: Image.Image) -> npt.NDArray[np.uint8]:
    """`(height, width)` or with channels behind."""
    turn = UPRIGHT.get(_orientation(image))
    return array if turn is None else np.ascontiguousarray(Image.fromarray(array).transpose(turn))


def _orientation(image: Image.Image) -> int:
    """1, which is upright, where it is not said or the EXIF data cannot be read."""
    try:
        return int(image.getexif().get(ORIENTATION, 1))
    except (OSError, SyntaxError, ValueError, TypeError, KeyError, IndexError, struct.error):
        return 1


def _deep_grey(image: Image.Image, data: bytes, depth: int) -> npt.NDArray[np.uint8]:
    values = np.asarray(image).astype(np.int64)
    most = int(values.max())
    if values.min() < 0 or most > DEEPEST:
        raise PictureUndecodable(f"grey values from {values.min()} to {most}: more than 16 bits are not supported")
    if isinstance(image, TiffImageFile) and image.tag_v2.get(PHOTOMETRIC) == 0:  # white is 0
        values = (1 << depth) - 1 - values
        most = int(values.max())
    bits, used = _significant_bits(data), 16
    if 8 < depth < 16:  # a TIFF's, which Pillow gives as they are
        used = depth
    elif bits and most < 1 << bits and (values & ((1 << (16 - bits)) - 1)).any():
        used = bits  # at the lower end, as a camera's Mono12 has them; a PNG should have them at the upper end
    elif not bits and most < TWELVE_BITS:
        raise PictureUndecodable(f"a 16-bit picture without a value from {TWELVE_BITS} on: {ADVICE}")
    grey = ((values << 8) >> used).astype(np.uint8)  # the upper 8 bits, as Pillow takes them of 16-bit colour
    if isinstance(transparent := image.info.get("transparency"), int):
        grey[values == transparent] = 255
    return grey


def _most(band: Image.Image) -> int:
    low_high = band.getextrema()
    return int(low_high[1]) if isinstance(low_high[1], (int, float)) else 0


def _depth(image: Image.Image, data: bytes) -> int:
    """Bits of a sample as the file stores it. Raises PictureUndecodable where they are no plain numbers."""
    if data.startswith(PNG_START):
        return data[DEPTH_AT]
    if not isinstance(image, TiffImageFile):
        return 8
    depth = max(image.tag_v2.get(BITS_PER_SAMPLE, (1,)))
    if depth > 16 or any(kind != 1 for kind in image.tag_v2.get(SAMPLE_FORMAT, (1,))):
        raise PictureUndecodable(
            f"a TIFF of signed, floating-point or {depth}-bit values: save it in 8 or 16 bits, without a sign"
        )
    return int(depth)


def _significant_bits(data: bytes) -> int:
    """Of a grey PNG, from its sBIT chunk, where that says less than 16; else 0."""
    if not data.startswith(PNG_START):
        return 0
    for kind, content in _chunks(data):
        if kind == b"sBIT" and content and 0 < content[0] < 16:
            return content[0]
    return 0


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Name and content of a PNG's chunks before its pixels."""
    at = len(PNG_START)
    while at + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        if kind == b"IDAT":
            return
        yield kind, data[at + 8 : at + 8 + size]
        at += 12 + size
