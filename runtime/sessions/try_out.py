"""A few passes on a device before it is relied upon: that it opens does not mean that it runs."""

from __future__ import annotations

import logging

import numpy as np

from lineside.runtime.bundle import Bundle
from lineside.runtime.errors import DeviceUnusable
from lineside.runtime.sessions.interface import Decoder, Vision

log = logging.getLogger("lineside.try_out")
STEPS, DRAFT = 4, 4
ROOM = STEPS + DRAFT
TOLERANCE = 0.2
"""Relative error (L2) between a token's logits alone and in a longer pass, whose kernels add up in another order: in
float16 that shows in a wide model. Whether the numbers are right is for `runtime.sessions.selftest` to say."""


def try_out(bundle: Bundle, vision: Vision | None, decoder: Decoder) -> None:
    """The largest picture; and for each length of the cache a whole chunk of a prompt, single tokens until they are
    replayed, and a draft behind them.

    Raises DeviceUnusable where numbers are not finite or not there, or a token's depend on how they were computed;
    DeviceFailed.
    """
    image = bundle.manifest.image
    if vision is not None and image is not None:
        step = image.patch_size * image.spatial_merge_size
        side = image.max_image_size // step * step
        if not np.isfinite(vision.embed(np.zeros((3, side, side), np.float32))).all():
            raise DeviceUnusable("the vision tower computes numbers there that are not finite")
    for capacity in decoder.cache_lengths or (decoder.prefill_tokens + ROOM,):
        _try_decoder(bundle, decoder, capacity)


def _try_decoder(bundle: Bundle, decoder: Decoder, capacity: int) -> None:
    cache = decoder.allocate(capacity)
    past = min(decoder.prefill_tokens, capacity - ROOM)
    ids = np.random.default_rng(0).integers(0, bundle.manifest.vocab_size, size=past + ROOM)
    ids[ids == bundle.manifest.image_token_id] = 0
    alone = [decoder.prefill(cache, ids[:past], 0)[0].copy()]
    alone += [decoder.decode(cache, [int(ids[past + i])], past + i)[0].copy() for i in range(STEPS)]
    together = decoder.decode(cache, ids[past : past + DRAFT].tolist(), past)
    if not all(np.isfinite(row).all() for row in (*alone, *together)):
        raise DeviceUnusable("the decoder computes numbers there that are not finite")
    if not together.any():
        raise DeviceUnusable("the decoder computes nothing there")
    if decoder.picker is not None:
        picked = decoder.picker.likeliest(cache, ids[past : past + DRAFT].tolist(), past)
        rows = [decoder.picker.row(cache, i) for i in range(DRAFT)]
        if any(row[token] < row.max() for token, row in zip(picked, rows, strict=True)):
            raise DeviceUnusable("the decoder finds another token there than the likeliest one")
    difference = np.linalg.norm(together - np.stack(alone[1 : DRAFT + 1])) / np.linalg.norm(together)
    log.info("with a cache of %d tokens, a token alone and in a longer pass differ by %.2g", capacity, difference)
    if difference > TOLERANCE:
        raise DeviceUnusable(f"the decoder computes the same token there in two ways that differ by {difference:.2g}")
