"""How far the finished graphs are from the float model: the bundle is not published where that is too far."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lineside.export.bundle.calibrate import Measured
from lineside.export.bundle.golden import image_embeds
from lineside.export.bundle.pieces import decoder_pass, empty_caches, run_in_pieces
from lineside.export.errors import TooCoarse
from lineside.runtime.agreement.tokens import TokenAgreement, TokenMeter
from lineside.runtime.manifest import Manifest
from lineside.runtime.sessions.ort import CPU_GRAPH


def measure(folder: Path, manifest: Manifest, measured: Measured) -> TokenAgreement:
    """Run the CPU's graphs in `folder` on what the float model has read, in the memory of a piece."""
    reading = measured.reading
    embeds = None if reading.pixels is None else image_embeds(folder, manifest, reading.pixels)
    rows = np.arange(reading.text_start, len(reading.ids) - 1)
    inputs = decoder_pass(manifest, reading.ids, 0, embeds) | {"rows": rows}
    (found,) = run_in_pieces(folder / CPU_GRAPH, [inputs], empty_caches(manifest, len(reading.ids)))
    meter = TokenMeter()
    meter.add(measured.logits, np.asarray(found["logits"], np.float32), reading.ids[reading.text_start + 1 :])
    return meter.result()


def check(agreement: TokenAgreement, max_kl: float) -> None:
    """Raises TooCoarse."""
    if agreement.kl > max_kl:
        raise TooCoarse(
            f"the bundle is {agreement.kl:.3f} nats a token from the float model, more than {max_kl:g}: try "
            "`--quantizer gptq`, `--embedding int8 --head int8` or a larger model; a higher `--max-kl` lets it pass, "
            "and goes on with what is there"
        )
