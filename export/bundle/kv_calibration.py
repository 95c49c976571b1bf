"""Scales of an INT8 KV cache: how large each channel of keys and values gets on a sample of text and a picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from lineside.export.bundle.golden import noise_picture
from lineside.runtime.bundle import Bundle
from lineside.runtime.manifest import Manifest
from lineside.runtime.sessions.ort import OrtDecoder, OrtVision
from lineside.runtime.text.tokenizer import Tokenizer

MARGIN = 1.1
"""Headroom for values that the sample does not show; what lies beyond is clipped."""
CHUNK = 256
SAMPLE = """Inspect the part for: pitting, scratches, corrosion. Answer in JSON: verdict pass, fail or unsure.
{"verdict":"fail","defects":[{"type":"pitting","box":[412,87,466,131]},{"type":"scratch","box":[12,640,250,655]}]} The
spindle at station 4 was changed on 12 March at 07:45 after 38,211 strokes; the bearing ran at 63.5 degrees. Call a
function, or say that none fits. [{"name": "set_speed", "arguments": {"conveyor": "B2", "metres_per_minute": 1.75}}]
Halte das Band an und melde der Schichtleitung, dass die Presse nachgestellt werden muss. Danke schön! Arrêtez le
convoyeur trois et vérifiez la température de l'huile avant de redémarrer, s'il vous plaît. Baja la velocidad de la
cinta al cuarenta por ciento y avisa cuando la pieza 1187 llegue a la cámara. def mean(values): return sum(values) /
len(values)  # raises ZeroDivisionError for an empty list Why is the sky blue? Sunlight is scattered by molecules of
the air, and blue light more than red. What else would you like?
"""


def kv_scales(folder: Path, manifest: Manifest, tokenizer: Tokenizer) -> dict[str, npt.NDArray[np.float32]]:
    """Run the sample through the float32-cached decoder in `folder`; scales `(kv_heads * head_dim,)` by cache name."""
    decoder = OrtDecoder(Bundle(folder, manifest, ""))
    ids, embeds = tokenizer.encode_text(SAMPLE), None
    if manifest.image is not None:
        pixels, images = noise_picture(manifest.image, np.random.default_rng(0))
        embeds = OrtVision(Bundle(folder, manifest, ""), manifest.image).embed(pixels)
        ids = np.concatenate([np.full(images, manifest.image_token_id), ids])
    ids = ids[: manifest.context_length]
    cache = decoder.allocate(len(ids))
    for start in range(0, len(ids), CHUNK):
        decoder.prefill(cache, ids[start : start + CHUNK], start, embeds if start == 0 else None)
    return {
        name: np.maximum(np.abs(buffer.array).max(axis=(0, 2)).ravel() * (MARGIN / 127), np.finfo(np.float32).tiny)
        for name, buffer in cache.buffers.items()
    }
