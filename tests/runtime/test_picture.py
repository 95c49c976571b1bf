from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from lineside.runtime.errors import PictureError, PictureTooLarge, PictureUndecodable
from lineside.runtime.manifest import ImageSettings
from lineside.runtime.patches import to_patches
from lineside.runtime.picture import check_picture, decode_picture
from lineside.runtime.picture_kinds import SUFFIXES, suffix_of, webp_size
from lineside.runtime.pixel_format import NEW_SUBFILE_TYPE


def encode(image: Image.Image, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


def test_real_photograph(pictures: list[Path]) -> None:
    picture = decode_picture(pictures[0].read_bytes())
    assert picture.shape == (261, 640, 3)
    assert picture.dtype == np.uint8


@pytest.mark.parametrize("keep", [0.02, 0.3, 0.6, 0.98])
def test_truncated_jpeg_is_refused(pictures: list[Path], keep: float) -> None:
    data = pictures[0].read_bytes()
    for read in (decode_picture, check_picture):
        with pytest.raises(PictureUndecodable):
            read(data[: int(len(data) * keep)])


@pytest.mark.parametrize("kind", ["BMP", "TIFF", "WEBP"])
@pytest.mark.parametrize("keep", [0.02, 0.5, 0.98])
def test_other_kinds_that_are_cut_short_are_refused(pictures: list[Path], kind: str, keep: float) -> None:
    data = encode(Image.open(pictures[0]), kind)
    assert decode_picture(data).shape == (261, 640, 3)
    check_picture(data)
    with pytest.raises(PictureUndecodable):
        decode_picture(data[: int(len(data) * keep)])


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_whole_pictures_pass_the_check_and_a_byte_less_does_not(kind: str) -> None:
    data = encode(Image.effect_noise((90, 60), 40), kind)
    check_picture(data)
    check_picture(data + b"\0" * 100)
    with pytest.raises(PictureUndecodable, match="cut short"):
        check_picture(data[: -5 if kind == "JPEG" else -12])


def test_empty_and_text_are_refused() -> None:
    with pytest.raises(PictureUndecodable, match="0 bytes"):
        decode_picture(b"")
    with pytest.raises(PictureUndecodable, match="no JPEG, PNG, BMP, TIFF or WebP"):
        decode_picture(b"this is a text file named part.jpg\n" * 20)


def test_forty_megapixels_are_refused_from_the_header() -> None:
    """Only the header is needed, so a picture of which nothing else is there is refused for its size."""
    data = encode(Image.new("L", (8000, 5000)))[:400]
    with pytest.raises(PictureTooLarge, match=r"40\.0 megapixels; the limit is 25\.0"):
        decode_picture(data)


@pytest.mark.parametrize("kind", ["BMP", "TIFF", "WEBP"])
@pytest.mark.parametrize("lossless", [False, True])
def test_the_size_of_other_kinds_is_read_before_a_pixel(kind: str, lossless: bool) -> None:
    buffer = io.BytesIO()
    image = Image.new("RGB", (800, 500))
    image.save(buffer, kind, **({"lossless": lossless} if kind == "WEBP" else {}))
    for read in (decode_picture, check_picture):
        with pytest.raises(PictureTooLarge, match=r"800 x 500 = 0\.4 megapixels"):
            read(buffer.getvalue(), 300_000)


def test_a_webp_with_metadata_says_its_size_too() -> None:
    buffer = io.BytesIO()
    Image.new("RGBA", (800, 500), (1, 2, 3, 4)).save(buffer, "WEBP", exif=Image.Exif().tobytes(), lossless=True)
    assert webp_size(buffer.getvalue()) == (800, 500)
    assert buffer.getvalue()[12:16] == b"VP8X"


def test_decompression_bomb_is_refused() -> None:
    with pytest.raises(PictureTooLarge):
        decode_picture(encode(Image.new("1", (30000, 30000))))


@pytest.mark.parametrize("mode", ["L", "1", "P", "I;16", "CMYK", "RGBA", "LA"])
def test_other_pixel_formats_become_rgb(mode: str) -> None:
    kind = "JPEG" if mode == "CMYK" else "PNG"
    white = 65535 if mode == "I;16" else 0 if mode == "CMYK" else 1 if mode == "P" else "white"
    image = Image.new(mode, (20, 10), white)
    if mode == "P":
        image.putpalette([0, 0, 0, 255, 255, 255])
    assert (decode_picture(encode(image, kind)) == np.full((10, 20, 3), 255)).all()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "TIFF", "WEBP"])
def test_a_kept_picture_is_found_again_by_the_end_of_its_name(kind: str) -> None:
    suffix = suffix_of(encode(Image.new("RGB", (4, 4)), kind))
    assert Image.registered_extensions()[suffix] == kind
    assert suffix in SUFFIXES


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (encode(Image.new("L", (4, 4)), "GIF"), "GIF"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"),
        (b"\0\0\0\x1cftypavif\0\0\0\0", "AVIF"),
        (b"\0\0\0\x18ftypisom\0\0\0\0", "a video"),
        (encode(Image.new("L", (4, 4)), "JPEG2000"), "JPEG 2000"),
        (b"%PDF-1.7", "PDF"),
        (b"\n <!doctype html><title>Login</title>", "a web page"),
    ],
)
def test_what_is_refused_is_named(data: bytes, kind: str) -> None:
    for read in (decode_picture, check_picture):
        with pytest.raises(PictureUndecodable, match=f"^{kind} is not read: save it as JPEG or PNG$"):
            read(data)


@pytest.mark.parametrize(("kind", "told"), [("TIFF", "a TIFF of several pages"), ("WEBP", "a WebP that moves")])
def test_a_file_of_several_pictures_is_refused(kind: str, told: str) -> None:
    buffer = io.BytesIO()
    pages = [Image.new("L", (30, 20), level) for level in (10, 200)]
    pages[0].save(buffer, kind, save_all=True, append_images=pages[1:])
    for read in (decode_picture, check_picture):
        with pytest.raises(PictureUndecodable, match=f"{told}.*by itself"):
            read(buffer.getvalue())


@pytest.mark.parametrize(("preview", "first"), [(1, False), (0, True)])
def test_a_tiff_with_a_preview_is_its_picture_or_refused(preview: int, first: bool) -> None:
    """A preview behind the picture is passed over; raw files of cameras begin with one."""
    large, small = Image.new("L", (60, 40), 200), Image.new("L", (6, 4), 200)
    buffer = io.BytesIO()
    small.encoderinfo = {"tiffinfo": {NEW_SUBFILE_TYPE: preview}}
    large.save(buffer, "TIFF", save_all=True, append_images=[small], tiffinfo={NEW_SUBFILE_TYPE: int(first)})
    if first:
        with pytest.raises(PictureUndecodable, match="begins with a preview"):
            decode_picture(buffer.getvalue())
    else:
        assert decode_picture(buffer.getvalue()).shape == (40, 60, 3)


def test_transparency_is_white() -> None:
    assert (decode_picture(encode(Image.new("RGBA", (4, 4), (255, 0, 0, 0)))) == 255).all()


@given(st.binary(max_size=300))
def test_random_bytes_give_a_picture_error(data: bytes) -> None:
    for prefix in (b"", b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n"):
        with pytest.raises(PictureError):
            decode_picture(prefix + data)


@given(st.integers(1, 4), st.integers(1, 5))
def test_patches_stand_in_merge_order(block_rows: int, block_columns: int) -> None:
    """Each patch is compared with the pixels that its position names."""
    settings = ImageSettings(4, 2, max_image_size=64, grid_size=16, hidden_size=32, intermediate_size=64)
    rng = np.random.default_rng(0)
    pixels = rng.normal(size=(3, block_rows * 8, block_columns * 8)).astype(np.float32)
    patches, positions = to_patches(pixels, settings)
    assert patches.shape == (1, block_rows * block_columns * 4, 48)
    assert len(set(positions[0].tolist())) == positions.shape[1]
    for patch, position in zip(patches[0], positions[0], strict=True):
        row, column = divmod(int(position), 16)
        np.testing.assert_array_equal(
            patch.reshape(3, 4, 4), pixels[:, row * 4 : row * 4 + 4, column * 4 : column * 4 + 4]
        )
    for block in positions[0].reshape(-1, 4):
        top_left = int(block[0])
        assert block.tolist() == [top_left, top_left + 1, top_left + 16, top_left + 17]
