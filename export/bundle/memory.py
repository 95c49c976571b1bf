"""How much memory an export takes, and whether it is there."""

from __future__ import annotations

from pathlib import Path

from lineside.export.bundle.pieces import PIECE_BYTES
from lineside.export.bundle.plan import Planned
from lineside.export.calibration.sample import MEASURED_TOKENS, tokens_of
from lineside.export.errors import MemoryTooSmall
from lineside.export.quantize.blocks import BLOCK_SIZE
from lineside.export.quantize.hessian import parts
from lineside.runtime.free_memory import free_bytes

PROCESS_BYTES = 800_000_000
"""Libraries, the slices of a tensor on their way, and the self-test's caches."""
LOADED = 3.0
"""A piece in memory against its weights: as they are read, as ONNX Runtime packs them, and in between. A 24B took 4.0
GB."""


def needed_bytes(planned: Planned) -> int:
    """The most that an export takes at a time: when its self-test runs the largest piece of a graph, or when the float
    network stands before the last matrix of a layer.
    """
    largest = max(slot.nbytes for file in planned.files.values() for w in file.weights.values() for slot in w.slots)
    weights = max(file.size_bytes for file in planned.files.values())
    self_test = int(LOADED * min(weights, max(PIECE_BYTES, largest)))
    self_test += 2 * 4 * MEASURED_TOKENS * planned.network.decoder.vocab_size  # logits, of the floats and of the graphs
    return PROCESS_BYTES + max(self_test, _float_run_bytes(planned))


def _float_run_bytes(planned: Planned) -> int:
    """Gate, up and their product in float32, and the Hessian of the product: U of all parts, and one being factored."""
    inner = planned.network.decoder.intermediate_size
    tokens = MEASURED_TOKENS + (tokens_of(inner) if planned.fitted else 0)
    activations = 4 * tokens * 3 * inner
    if planned.precisions.method != "gptq" or not planned.fitted:
        return activations
    sizes = [part.stop - part.start for part in parts(inner, BLOCK_SIZE)]
    squares = [size * size for size in sizes]
    return int(activations + 4 * sum(squares) + 3 * 8 * max(squares))


def check_memory(planned: Planned, root: Path = Path("/")) -> None:
    """Raises MemoryTooSmall where less is free, to the machine or to the process's group."""
    needed, free = needed_bytes(planned), free_bytes(root)
    if free is not None and free < needed:
        sizes = f"{free / 1e9:.2f} GB of memory are free, the export takes up to {needed / 1e9:.2f} GB"
        raise MemoryTooSmall(f"{sizes}: stop other programs, or export on another machine and copy the bundle")
