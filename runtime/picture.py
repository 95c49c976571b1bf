"""Pictures on their way to the vision tower: safe decoding, and normalized pixels to patches."""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from runtime.bundle import ImageSettings
from runtime.chat import Picture
from runtime.errors import PictureTooLarge, PictureUndecodable

DEFAULT_MAX_PIXELS = 25_000_000


def decode_picture(data: bytes, max_pixels: int = DEFAULT_MAX_PIXELS) -> Picture:
    """Decode a JPEG or PNG to RGB, `(height, width, 3)` uint8.

    The size is read from the header before any pixel is decoded. Pillow rather than OpenCV decodes, because it
    reports a truncated file where OpenCV fills the rest with grey, and because mistral-common decodes with it.

    Raises:
        PictureUndecodable: no bytes, not a JPEG or PNG, or cut short.
        PictureTooLarge: more than `max_pixels` pixels.
    """
    if not data:
        raise PictureUndecodable("the picture is empty (0 bytes)")
    try:
        with Image.open(io.BytesIO(data), formats=("JPEG", "PNG")) as image:
            width, height = image.size
            if width * height > max_pixels:
                raise PictureTooLarge(
                    f"the picture has {width} x {height} = {width * height / 1e6:.1f} megapixels; "
                    f"the limit is {max_pixels / 1e6:.1f}"
                )
            return np.asarray(_to_rgb(image), dtype=np.uint8)
    except UnidentifiedImageError as error:
        raise PictureUndecodable(f"{len(data)} bytes that are neither a JPEG nor a PNG") from error
    except Image.DecompressionBombError as error:
        raise PictureTooLarge(
            f"the picture has too many pixels; the limit is {max_pixels / 1e6:.1f} megapixels"
        ) from error
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise PictureUndecodable(f"the picture is damaged or cut short ({error})") from error


def _to_rgb(image: Image.Image) -> Image.Image:
    """RGB with transparency on white, as mistral-common shows it to the model."""
    if image.mode == "RGB":
        image.load()
        return image
    if "A" not in image.mode and "transparency" not in image.info:
        return image.convert("RGB")
    layered = image.convert("RGBA")
    white = Image.new("RGBA", layered.size, "WHITE")
    white.alpha_composite(layered)
    return white.convert("RGB")


def to_patches(
    pixels: npt.NDArray[np.float32], settings: ImageSettings
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Normalized pixels `(3, H, W)` to patches and positions in merge order.

    Returns:
        patches `(1, N, 3*p*p)`: channel, row, column within a patch, as a convolution kernel is flattened; each run of
        `spatial_merge_size ** 2` patches is one block of the grid.
        positions `(1, N)`: row * grid_size + column of each patch.
    """
    p, merge = settings.patch_size, settings.spatial_merge_size
    rows, columns = pixels.shape[1] // p, pixels.shape[2] // p
    block_rows, block_columns = rows // merge, columns // merge
    grid = pixels.reshape(3, block_rows, merge, p, block_columns, merge, p)
    # -> block row, block column, row in block, column in block, channel, y, x
    patches = grid.transpose(1, 4, 2, 5, 0, 3, 6).reshape(1, rows * columns, 3 * p * p)
    flat = np.arange(rows, dtype=np.int64)[:, None] * settings.grid_size + np.arange(columns, dtype=np.int64)
    order = flat.reshape(block_rows, merge, block_columns, merge).transpose(0, 2, 1, 3)
    return np.ascontiguousarray(patches), np.ascontiguousarray(order.reshape(1, -1))
