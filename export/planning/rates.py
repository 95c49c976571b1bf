"""How fast a device reads and computes: measured here in some seconds, or as a vendor states it."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from lineside.export.bundle.plan import PRECISIONS, Precisions
from lineside.export.calibration.sample import MEASURED_TOKENS, tokens_of
from lineside.export.checkpoint.source import BlockFormat, Blocks
from lineside.export.graph.weights import Weight, WeightPlan, fill
from lineside.export.quantize.blocks import BLOCK_SIZE
from lineside.export.quantize.hessian import feedback, moments
from lineside.export.quantize.rounder import CALIBRATED, HQQ, Rounder, awq_rounder, gptq_rounder
from lineside.runtime.boards import Board
from lineside.runtime.cores import usable_cores

Floats = npt.NDArray[np.float32]
READ_BYTES = 64 * 1024 * 1024
"""More than a cache holds, for each thread."""
K, N = 4096, 2048
"""Columns and rows of the matrices that are tried."""
PREFILL, PATCHES = 256, 256
"""Positions at once: a chunk of a prompt, and a part of a picture."""
ROWS = 256


@dataclass(frozen=True)
class Rates:
    """Bytes and operations a second. `matrices` is that of the decoder's rounded matrices, `floats` that of the tower
    and of attention. `chunk` tokens of a prompt are taken at once. `how` says where they come from.
    """

    bandwidth: float
    matrices: float
    floats: float
    chunk: int
    how: str
    estimated: bool


def of_board(board: Board) -> Rates:
    """Peak rates: nothing is faster, what runs is slower."""
    how = (
        f"{board.title}: {board.bandwidth_bytes_s / 1e9:g} GB/s, {board.float16_flops / 1e12:g} TFLOPS in float16 "
        f"({board.computes}); nothing was run there"
    )
    return Rates(board.bandwidth_bytes_s, board.float16_flops, board.float16_flops, 512, how, estimated=True)


def measured() -> Rates:
    """This machine's CPU, by ONNX Runtime's own kernels. Other work on it slows it down, and the figures with it."""
    threads = usable_cores()
    bandwidth = bandwidth_bytes_s(threads)
    matrices, floats = matrix_flops(4, 4, PREFILL), matrix_flops(8, 0, PATCHES)
    how = (
        f"measured here just now, {threads} threads: {bandwidth / 1e9:.1f} GB/s, {matrices / 1e9:.0f} GFLOPS in INT4 "
        f"matrices, {floats / 1e9:.0f} in the tower's; what else runs here slows it down"
    )
    return Rates(bandwidth, matrices, floats, PREFILL, how, estimated=False)


def bandwidth_bytes_s(threads: int) -> float:
    """Each thread sums an array of its own; the best of two times."""
    arrays = [np.ones(READ_BYTES // 8) for _ in range(threads)]

    def read() -> None:
        workers = [threading.Thread(target=array.sum) for array in arrays]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()

    return threads * READ_BYTES / _best(read)


def matrix_flops(bits: int, accuracy_level: int, positions: int) -> float:
    """Of one MatMulNBits `(K, N)` with random weights over `positions`."""
    from onnx import TensorProto, helper, numpy_helper

    from lineside.runtime.sessions.ort import CPU, session_options  # before onnxruntime: it sees to its telemetry

    import onnxruntime as ort  # isort: skip

    rng = np.random.default_rng(0)
    packed = rng.integers(0, 255, (N, K // 32, 4 * bits), dtype=np.uint8)
    scales = np.full((N, K // 32), 0.01, np.float32)
    weights = [numpy_helper.from_array(packed, "packed"), numpy_helper.from_array(scales, "scales")]
    layout = {"K": K, "N": N, "bits": bits, "block_size": 32, "accuracy_level": accuracy_level}
    node = helper.make_node("MatMulNBits", ["x", "packed", "scales"], ["y"], domain="com.microsoft", **layout)
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ("T", size)) for name, size in (("x", K), ("y", N)))
    graph = helper.make_graph([node], "rate", [x], [y], weights)
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets)
    model.ir_version = helper.find_min_ir_version_for(opsets[:1])
    session = ort.InferenceSession(model.SerializeToString(), session_options(0), providers=[CPU])
    values = {"x": rng.normal(size=(positions, K)).astype(np.float32)}
    return 2 * K * N * positions / _best(lambda: session.run(None, values))


@dataclass(frozen=True)
class _Sample:
    """A matrix of random floats, as an `export.checkpoint.source.Source`."""

    values: Floats

    def __contains__(self, name: str) -> bool:
        return name == "sample"

    def names(self) -> Iterator[str]:
        yield "sample"

    def shape(self, name: str) -> tuple[int, ...]:  # noqa: ARG002 - there is but one
        return self.values.shape

    def rows(self, name: str) -> Iterator[Floats]:  # noqa: ARG002
        yield self.values

    def block_format(self, name: str) -> BlockFormat | None:  # noqa: ARG002
        return BlockFormat(4, 32, minima=False)

    def blocks(self, name: str) -> Iterator[Blocks]:  # noqa: ARG002
        yield Blocks(self.values.astype(np.int8), np.ones((len(self.values), K // 32), np.float32), None)

    def stamp(self) -> str:
        return "sample"


def weights_per_s(inner: int, precisions: Precisions = PRECISIONS["int4"]) -> dict[str, float]:
    """Weights that an export reads, rounds and writes a second, by the form in which they are stored.

    INT4 is rounded by the export's own quantizer, while the float network reads a text; a longer one where the rounding
    is fitted to it. The checkpoint's disk comes on top, and what is done once for all rows of a matrix.

    Args:
        inner: `intermediate_size`, which decides how long that text is.
    """
    tokens = MEASURED_TOKENS + (tokens_of(inner) if precisions.method in CALIBRATED else 0)
    source = _Sample(np.random.default_rng(0).normal(size=(ROWS, K)).astype(np.float32))
    plan = WeightPlan("sample")
    names, carried = ("sample",), source.block_format("sample")
    assert carried is not None
    weights = {
        "int4": plan.matrix("int4", names, ROWS, K, "int4", zeros=not precisions.symmetric),
        "int8": plan.matrix("int8", names, ROWS, K, "int8"),
        "transposed": plan.matrix("transposed", names, ROWS, K, "float32"),
        "plain": plan.plain("plain", "sample", (ROWS, K)),
        "carried-over": plan.carried("carried-over", names, ROWS, K, carried),
    }
    x = np.random.default_rng(1).normal(size=(PREFILL, K)).astype(np.float32)
    rounders = {"int4": _rounder(precisions, x)}

    def write(weight: Weight) -> None:
        fill(weight, source, io.BytesIO(), rounders.get(weight.name))

    product = _best(lambda: x @ source.values.T, runs=9) / (PREFILL * ROWS * K)  # of a weight and a token
    seconds = {form: _best(partial(write, weight), runs=1) / (ROWS * K) for form, weight in weights.items()}
    rounding = _best(partial(write, weights["int4"])) / (ROWS * K)  # by one core: the sample is a single tile
    seconds["int4"] = rounding / usable_cores() + product * tokens
    return {form: 1 / each for form, each in seconds.items()}


def _rounder(precisions: Precisions, x: Floats) -> Rounder | None:
    """As an export has it for inputs `(T, K)`; None for the nearest value."""
    if precisions.method == "gptq":
        return gptq_rounder(feedback(x, BLOCK_SIZE), moments(x), symmetric=precisions.symmetric)
    if precisions.method == "awq":
        return awq_rounder(np.ones(x.shape[1], np.float32), moments(x), symmetric=precisions.symmetric)
    return HQQ if precisions.method == "hqq" else None


def _best(work: Callable[[], object], runs: int = 2) -> float:
    """Seconds of the quickest run."""
    seconds = []
    for _ in range(runs):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return min(seconds)
