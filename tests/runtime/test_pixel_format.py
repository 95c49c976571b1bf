"""Whatever a camera or a phone writes is shown to the model as a person sees it, or refused by name."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageOps

from lineside.runtime.errors import PictureUndecodable
from lineside.runtime.picture import check_picture, decode_picture
from lineside.runtime.pixel_format import ORIENTATION, to_rgb

RAMP = np.arange(256, dtype=np.uint16).reshape(16, 16)
"""Every value of 8 bits."""


def png(values: npt.NDArray[np.uint16], significant: int = 0) -> bytes:
    """16-bit grey, with an sBIT chunk where `significant` is not 0."""
    good, encoded = cv2.imencode(".png", values)
    assert good
    data = encoded.tobytes()
    if not significant:
        return data
    body = b"sBIT" + bytes([significant])
    return data[:33] + struct.pack(">I", 1) + body + struct.pack(">I", zlib.crc32(body)) + data[33:]


def save(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("factor", [256, 257])
@pytest.mark.parametrize("writer", ["OpenCV", "Pillow"])
def test_16_bit_grey_is_its_8_bit_picture(factor: int, writer: str) -> None:
    values = (RAMP * factor).astype(np.uint16)
    data = png(values) if writer == "OpenCV" else save(Image.fromarray(values), "PNG")
    found = decode_picture(data)
    assert found.shape == (16, 16, 3)
    assert all((found[:, :, channel] == RAMP).all() for channel in range(3))


def test_16_bit_colour_is_its_8_bit_picture() -> None:
    colors = np.random.default_rng(0).integers(0, 256, (20, 30, 3)).astype(np.uint16)
    found = decode_picture(png((colors * 257).astype(np.uint16)))
    np.testing.assert_array_equal(found, colors[:, :, ::-1])


@pytest.mark.parametrize("bits", [10, 12, 14])
def test_fewer_bits_are_read_where_they_are_told(bits: int) -> None:
    """At the lower end, as a camera's Mono12 has them; and at the upper, as the PNG specification wants it."""
    low, high = (RAMP << (bits - 8)) | 1, RAMP << 8
    dark = np.minimum(high, 3 << 8)
    for values, shown in ((low, RAMP), (high, RAMP), (dark, np.minimum(RAMP, 3))):
        found = decode_picture(png(values.astype(np.uint16), bits))
        np.testing.assert_array_equal(found[:, :, 0], shown)


@pytest.mark.parametrize("colors", [1, 3])
def test_12_bits_that_are_not_told_are_refused_by_name(colors: int) -> None:
    """Neither black nor white is made of them: a camera's Mono12, or a 16-bit picture with the light off."""
    values = (RAMP << 4).astype(np.uint16)
    data = png(values if colors == 1 else np.repeat(values[:, :, None], 3, axis=2))
    with pytest.raises(PictureUndecodable, match=r"12 bits or fewer.*sBIT"):
        decode_picture(data)


def test_the_transparent_grey_of_16_bits_is_white() -> None:
    image = Image.fromarray((RAMP * 257).astype(np.uint16))
    found = decode_picture(save(image, "PNG", transparency=257 * 7))
    assert found[0, 7].tolist() == [255, 255, 255]
    assert found[0, 8].tolist() == [8, 8, 8]


def tiff(content: bytes, bits: int, white_is_zero: bool, sample_format: int, order: str = "<") -> bytes:
    """A picture of 16 x 16, as an instrument writes it: one strip, not packed."""
    tags = {256: 16, 257: 16, 258: bits, 259: 1, 262: int(not white_is_zero), 273: 0, 277: 1, 278: 16}
    tags |= {279: len(content), 339: sample_format}
    tags[273] = 14 + 12 * len(tags)
    entries = b"".join(struct.pack(f"{order}HHII", tag, 4, 1, value) for tag, value in tags.items())
    head = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(f"{order}IH", 8, len(tags))
    return head + entries + struct.pack(f"{order}I", 0) + content


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_tiff_in_16_bits_is_its_8_bit_picture(order: str) -> None:
    data = tiff((RAMP * 257).astype(f"{order}u2").tobytes(), 16, False, 1, order)
    np.testing.assert_array_equal(decode_picture(data)[:, :, 0], RAMP)


def test_a_tiff_whose_white_is_zero_is_no_negative() -> None:
    data = tiff((65535 - RAMP * 257).astype("<u2").tobytes(), 16, True, 1)
    np.testing.assert_array_equal(decode_picture(data)[:, :, 0], RAMP)


def test_a_form_of_tiff_that_nobody_reads_is_named() -> None:
    with pytest.raises(PictureUndecodable, match="this form of TIFF is not read: save it as JPEG or PNG"):
        decode_picture(tiff(RAMP.astype(">u2").tobytes(), 16, True, 1, ">"))


def test_a_tiff_in_12_bits() -> None:
    bits = "".join(f"{int(value) << 4:012b}" for value in RAMP.ravel())
    data = tiff(int(bits, 2).to_bytes(len(bits) // 8, "big"), 12, False, 1)
    np.testing.assert_array_equal(decode_picture(data)[:, :, 0], RAMP)


def test_12_bits_in_a_tiff_of_16_are_refused_by_name() -> None:
    with pytest.raises(PictureUndecodable, match="12 bits or fewer"):
        decode_picture(tiff((RAMP << 4).astype("<u2").tobytes(), 16, False, 1))


@pytest.mark.parametrize(("dtype", "bits", "sample_format"), [("<i2", 16, 2), ("<f4", 32, 3), ("<u4", 32, 1)])
def test_a_tiff_of_other_numbers_is_refused(dtype: str, bits: int, sample_format: int) -> None:
    with pytest.raises(PictureUndecodable, match="TIFF of signed, floating-point or"):
        decode_picture(tiff(RAMP.astype(dtype).tobytes(), bits, False, sample_format))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_the_picture_is_upright(orientation: int, kind: str) -> None:
    """As `PIL.ImageOps` turns it; boxes are then in its pixels."""
    image = Image.fromarray(np.kron(np.arange(6, dtype=np.uint8).reshape(2, 3) * 40, np.ones((16, 16), np.uint8)))
    exif = image.getexif()
    exif[ORIENTATION] = orientation
    data = save(image, kind, exif=exif)
    found = decode_picture(data)
    wanted = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB"))
    np.testing.assert_array_equal(found, wanted)
    assert found.shape[:2] == ((48, 32) if orientation > 4 else (32, 48))


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
@pytest.mark.parametrize("deep", [False, True])
def test_grey_in_16_bits_is_turned_too(deep: bool, kind: str) -> None:
    image = Image.fromarray((RAMP * 257).astype(np.uint16) if deep else RAMP.astype(np.uint8))
    exif = image.getexif()
    exif[ORIENTATION] = 6
    found = decode_picture(save(image, kind, exif=exif))
    np.testing.assert_array_equal(found[:, :, 0], np.rot90(RAMP, -1))


def test_an_orientation_that_cannot_be_read_is_none(pictures: list[Path]) -> None:
    plain = Image.open(pictures[0])
    as_text = b"II*\0\x08\0\0\0\x01\0\x12\x01\x02\0\x04\0\0\0abc\0\0\0\0\0"
    for content in (b"nonsense", as_text, b""):
        assert decode_picture(save(plain, "JPEG", exif=b"Exif\0\0" + content)).shape == (261, 640, 3)


@pytest.mark.parametrize(
    "mode",
    ["1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBX", "RGBa", "CMYK", "YCbCr", "HSV", "LAB", "F", "I",
     "I;16", "I;16L", "I;16B"],
)  # fmt: skip
def test_every_pixel_format_is_shown_or_refused_by_name(mode: str) -> None:
    """A white picture with a black corner is that, however it is stored."""
    if mode.startswith("I"):
        image = Image.new(mode, (16, 8), 65535)
        image.putpixel((0, 0), 0)
    elif mode in ("LAB", "F"):
        with pytest.raises(PictureUndecodable, match=f"pixel format {mode} is not supported"):
            to_rgb(Image.new(mode, (16, 8)), b"")
        return
    else:
        shown = Image.new("RGBA", (16, 8), "white")
        shown.putpixel((0, 0), (0, 0, 0, 255))
        between = {"La": "LA", "RGBa": "RGBA", "PA": "P", "HSV": "RGB", "YCbCr": "RGB", "CMYK": "RGB"}
        image = shown.convert(between.get(mode, mode)).convert(mode)
    found = to_rgb(image, b"")
    assert found.shape == (8, 16, 3)
    assert found[0, 0].max() < 10
    assert found[0, 1:].min() > 245
    assert found[1:].min() > 245


def test_more_than_16_bits_are_refused() -> None:
    image = Image.new("I", (4, 4), 70000)
    with pytest.raises(PictureUndecodable, match="70000: more than 16 bits"):
        to_rgb(image, b"")


def test_a_phone_s_picture_with_a_second_one_behind_it(pictures: list[Path]) -> None:
    """MPO: two JPEGs in one file, of which the first counts."""
    image = Image.open(pictures[0])
    data = save(image, "MPO", save_all=True, append_images=[image.resize((64, 32))])
    check_picture(data)
    assert decode_picture(data).shape == (261, 640, 3)


def test_a_jpeg_of_very_many_scans_is_refused_before_it_is_decoded(pictures: list[Path]) -> None:
    """Each goes over the whole picture: 700 of them took 88 s. What is usual has about ten."""
    image = Image.open(pictures[0])
    progressive = save(image, "JPEG", progressive=True)
    check_picture(progressive)
    assert decode_picture(progressive).shape == (261, 640, 3)
    start = progressive.rindex(b"\xff\xda")
    many = progressive[:start] + progressive[start:-2] * 40 + progressive[-2:]
    for read in (check_picture, decode_picture):
        with pytest.raises(PictureUndecodable, match=r"a JPEG in \d+ scans"):
            read(many)
