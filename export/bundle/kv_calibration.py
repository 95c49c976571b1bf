"""Scales of an INT8 KV cache: how large each channel of keys and values gets on a sample of text and a picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from lineside.export.bundle.golden import image_embeds, noise_picture
from lineside.export.bundle.pieces import PAST, decoder_pass, empty_caches, run_in_pieces
from lineside.runtime.manifest import Manifest
from lineside.runtime.sessions.ort import CPU_GRAPH
from lineside.runtime.text.tokenizer import Tokenizer

MARGIN = 1.4
"""Headroom for values that the sample does not show; what lies beyond is clipped.

In 3,600 tokens of other texts, code and JSON (SmolLM2) a channel's largest value is 1.2 times that of the sample in
the median, 1.5 times at the 90th percentile. Clipping costs more than the coarser step: with 1.1 the KL to a float32
cache is 0.0081, with 1.4 0.0065, and with exact activations 0.0044 (same likeliest token: 96.7 %) against 0.0022
(97.5 %). With 8-bit activations that token is the same for 95 % either way, and for 97 % with a float16 cache."""
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
    ids, embeds = tokenizer.encode_text(SAMPLE), None
    if manifest.image is not None:
        pixels, images = noise_picture(manifest.image, np.random.default_rng(0))
        embeds = image_embeds(folder, manifest, pixels)
        ids = np.concatenate([np.full(images, manifest.image_token_id), ids])
    ids = ids[: manifest.context_length]
    caches = empty_caches(manifest, len(ids))
    starts = range(0, len(ids), CHUNK)
    passes = [decoder_pass(manifest, ids[at : at + CHUNK], at, None if at else embeds) for at in starts]
    run_in_pieces(folder / CPU_GRAPH, passes, caches)
    return {
        name.removeprefix(PAST): np.maximum(
            np.abs(cache).max(axis=(0, 2)).ravel() * (MARGIN / 127), np.finfo(np.float32).tiny
        )
        for name, cache in caches.items()
    }
