"""What the network reads while it is exported: passages that calibrate its rounding, and one that it is measured on.

The texts are Lineside's own: prose, commands, calls of functions, code and tables, in the languages of its users. The
passage that is measured on is the beginning of every paragraph of the text that `lineside compare` reads, behind a
picture; nothing of it is in the passages that calibrate.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from lineside.runtime.agreement.tokens import TEXT
from lineside.runtime.chat import Picture
from lineside.runtime.manifest import ImageSettings
from lineside.runtime.picture import to_pixels
from lineside.runtime.text.tokenizer import Tokenizer

NAME = "lineside-1"
"""Of the sample, as a bundle's manifest calls it."""
SAMPLE = Path(__file__).with_name("sample.txt")
PASSAGE_END = "\n\f\n"
PASSAGE_TOKENS = 256
"""The most of a passage."""
CALIBRATION_TOKENS = 8192
"""The most of all passages."""
ACTIVATION_BYTES = 768 * 1024 * 1024
"""Of the widest activations, gate and up side by side, in float32."""
MEASURED_CHARACTERS = 110
"""Of each paragraph of the text that is measured on."""
MEASURED_TOKENS = 640
PICTURE_TOKENS = 10
"""Along the longer side, where the tower takes as many."""
CALIBRATION_SEED, MEASURED_SEED = 1, 2

Ids = npt.NDArray[np.int64]
Pixels = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Reading:
    """What is read at once.

    Attributes:
        ids: `(T,)`; those of the picture come first.
        pixels: of the picture, normalized, `(3, H, W)`; None without one.
        text_start: the first token behind the picture.
    """

    ids: Ids
    pixels: Pixels | None = None
    text_start: int = 0

    def cut(self, length: int) -> Reading:
        """Its beginning. Without the picture where that is longer than so."""
        if self.text_start < length - 1:
            return replace(self, ids=self.ids[:length])
        return Reading(self.ids[self.text_start :][:length])


def tokens_of(intermediate_size: int) -> int:
    """The most that calibrate a network: its activations stay below `ACTIVATION_BYTES`."""
    return min(CALIBRATION_TOKENS, ACTIVATION_BYTES // (2 * 4 * intermediate_size))


def calibration(tokenizer: Tokenizer, image: ImageSettings | None, most_tokens: int) -> list[Reading]:
    """Passages of together no more than `most_tokens`, but at least one. The first begins as every prompt does."""
    texts = SAMPLE.read_text(encoding="utf-8").split(PASSAGE_END)
    readings: list[Reading] = []
    for text in texts:
        ids = tokenizer.encode_text(text)[:PASSAGE_TOKENS]
        reading = Reading(ids) if readings else _first(ids, tokenizer, image)
        if readings and len(reading.ids) > most_tokens:
            break
        readings.append(reading)
        most_tokens -= len(reading.ids)
    return readings


def _first(ids: Ids, tokenizer: Tokenizer, image: ImageSettings | None) -> Reading:
    reading = Reading(ids) if image is None else _behind_picture(ids, CALIBRATION_SEED, tokenizer, image)
    begun = np.concatenate([[tokenizer.bos_id], reading.ids])
    return replace(reading, ids=begun, text_start=reading.text_start + 1)


def measured(tokenizer: Tokenizer, image: ImageSettings | None) -> Reading:
    """At most `MEASURED_TOKENS`, and those of the picture."""
    paragraphs = TEXT.read_text(encoding="utf-8").split("\n\n")
    ids = tokenizer.encode_text("\n".join(paragraph[:MEASURED_CHARACTERS] for paragraph in paragraphs))
    ids = ids[:MEASURED_TOKENS]
    return Reading(ids) if image is None else _behind_picture(ids, MEASURED_SEED, tokenizer, image)


def _behind_picture(ids: Ids, seed: int, tokenizer: Tokenizer, image: ImageSettings) -> Reading:
    token = image.patch_size * image.spatial_merge_size
    pixels = to_pixels(
        drawn_part(seed), min(PICTURE_TOKENS, image.grid_size // image.spatial_merge_size) * token, image
    )
    rows, columns = (side // token for side in pixels.shape[1:])
    picture, end_of_row, end = (tokenizer.special_id(name) for name in ("[IMG]", "[IMG_BREAK]", "[IMG_END]"))
    row = [picture] * columns + [end_of_row]
    shown = [token for token in [*(row * rows)[:-1], end] if token is not None]
    return Reading(np.concatenate([np.asarray(shown, np.int64), ids]), pixels, len(shown))


def drawn_part(seed: int) -> Picture:
    """A metal plate with holes, a scratch and its number, under uneven light: `(384, 480, 3)` uint8."""
    rng = np.random.default_rng(seed)
    height, width = 384, 480
    light = np.linspace(rng.uniform(60, 110), rng.uniform(140, 200), width) + np.zeros((height, 1))
    plate = light[..., None] * rng.uniform(0.8, 1.1, 3) + rng.normal(0, 6, (height, width, 3))
    picture = np.ascontiguousarray(np.clip(plate, 0, 255).astype(np.uint8))
    dark, bright = (40, 40, 45), (230, 228, 220)
    for _ in range(6):
        center = tuple(int(n) for n in rng.integers((40, 40), (width - 40, height - 40)))
        cv2.circle(picture, center, int(rng.integers(8, 28)), dark, -1, cv2.LINE_AA)
    ends = rng.integers((0, 0), (width, height), (2, 2)).tolist()
    cv2.line(picture, ends[0], ends[1], bright, 2, cv2.LINE_AA)
    cv2.rectangle(picture, (20, 20), (width - 20, height - 20), (70, 90, 120), 3)
    cv2.putText(picture, f"No. {rng.integers(1000, 9999)}", (40, height - 45), cv2.FONT_HERSHEY_SIMPLEX, 1, bright, 2)
    return picture
