"""The kinds of picture files that are read, and the names of those that people try and that are not."""

from __future__ import annotations

import re

READ = ("JPEG", "PNG", "BMP", "TIFF", "WEBP")
"""As Pillow names them."""
READ_NAMES = "JPEG, PNG, BMP, TIFF or WebP"
SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"})
"""What the names of such files end with, in lower case."""
_ENDINGS = ((rb"\x89PNG", ".png"), (rb"BM", ".bmp"), (rb"II|MM", ".tif"), (rb"RIFF", ".webp"))
_BRANDS = {"heic": "HEIC", "heix": "HEIC", "heim": "HEIC", "mif1": "HEIF", "msf1": "HEIF", "avif": "AVIF"}
_STARTS = (
    (rb"GIF8[79]a", "GIF"),
    (rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51", "JPEG 2000"),
    (rb"\xff\x0a|\0\0\0\x0cJXL ", "JPEG XL"),
    (rb"%PDF-", "PDF"),
    (rb"8BPS", "Photoshop"),
    (rb"P[1-7]\s", "PNM"),
    (rb"\x93NUMPY", "a NumPy array"),
    (rb"\x1a\x45\xdf\xa3|RIFF....AVI |....ftyp", "a video"),
    (rb"II[*+]\0|MM\0[*+]", "this form of TIFF"),
    (rb"RIFF....WEBP", "this form of WebP"),
    (rb"\s*<(\?xml|svg)", "SVG or XML"),
    (rb"\s*<(!DOCTYPE|html)", "a web page"),
)


def other_kind(data: bytes) -> str:
    """The name of a kind of file that is known and not read; empty where it is not known."""
    if data[4:8] == b"ftyp" and (brand := _BRANDS.get(data[8:12].decode("latin-1"))):
        return brand
    found = (name for start, name in _STARTS if re.match(start, data[:64], re.DOTALL | re.IGNORECASE))
    return next(found, "")


def suffix_of(data: bytes) -> str:
    """What the name of a picture file that is read should end with."""
    return next((suffix for start, suffix in _ENDINGS if re.match(start, data)), ".jpg")


def webp_size(data: bytes) -> tuple[int, int]:
    """Width and height of a WebP, from its first chunk; zeros where there is none."""
    kind, body = data[12:16], data[20:30]
    if len(body) < 10:
        return 0, 0
    if kind == b"VP8X":
        return int.from_bytes(body[4:7], "little") + 1, int.from_bytes(body[7:10], "little") + 1
    if kind == b"VP8L":
        bits = int.from_bytes(body[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 ":
        return int.from_bytes(body[6:8], "little") & 0x3FFF, int.from_bytes(body[8:10], "little") & 0x3FFF
    return 0, 0
