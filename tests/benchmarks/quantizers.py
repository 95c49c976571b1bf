"""What each quantizer leaves of SmolLM2, bit for bit: `python -m tests.benchmarks.quantizers [--into BENCHMARKS.md]`.

The same floats are rounded by each of Lineside's quantizers, as `export` does it, and by gguf's and llama.cpp's for the
formats of peers. All are computed with exact activations, so that nothing but the weights counts, and held against the
float model over a text that no calibration reads. `--only q4` takes those whose names have `q4` in them.
"""

from __future__ import annotations

import argparse
import ctypes
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from gguf import GGML_QUANT_SIZES, GGUFReader
from gguf import GGMLQuantizationType as Type
from gguf.quants import dequantize, quantize

from lineside.export.bundle.choices import Choices, to_options
from lineside.export.bundle.options import ExportOptions
from lineside.export.bundle.plan import PRECISIONS, plan
from lineside.export.checkpoint.gguf import GgufCheckpoint
from lineside.runtime.text.tokenizer import Tokenizer
from tests.benchmarks.divergence import TEXT, WINDOW, divergences, windows
from tests.benchmarks.exact import ExactDecoder, layer_bytes
from tests.benchmarks.floats import write_floats
from tests.benchmarks.models import FLOATS, FOLDER, quantize_by_llama_cpp
from tests.benchmarks.results import processor
from tests.benchmarks.smollm import SmolLM, gguf_path
from tests.chaos.section import QUANTIZERS as SECTION
from tests.chaos.section import replace_section

WINDOWS = 6
EXACT: Choices = {"embedding": "float32", "head": "float32"}
OWN: tuple[tuple[str, Choices], ...] = (
    ("nearest", {**EXACT, "quantizer": "nearest"}),
    ("AWQ", {**EXACT, "quantizer": "awq"}),
    ("GPTQ, the default", EXACT),
    ("GPTQ, sensitive matrices in 8 bits", {**EXACT, "sensitive": "int8"}),
    ("nearest, for a CPU alone", {**EXACT, "quantizer": "nearest", "target": "cpu"}),
    ("HQQ, for a CPU alone", {**EXACT, "quantizer": "hqq", "target": "cpu"}),
    ("GPTQ, for a CPU alone", {**EXACT, "target": "cpu"}),
    ("GPTQ, table and head in 8 bits", {"embedding": "int8", "head": "int8"}),
    ("GPTQ, table and head in 4 bits", {"embedding": "int4", "head": "int4"}),
)
"""Names and what `lineside export` is given: one line for each quantizer."""
HEAD = """## Quantizers

Written by `python -m tests.benchmarks.quantizers --into BENCHMARKS.md` on {cpu}. The layers' matrices of SmolLM2-135M,
4-bit weights moved inside their steps to continuous ones, rounded and computed with exact activations; against the
float model over {tokens} tokens of Python's language reference, which no calibration reads. Table and head are exact
where nothing is said of them; they are one matrix in this model, a fifth of its weights. Perplexity of the float
model: {perplexity:.2f}. 576 columns are no multiple of the 256 of Q4_K, whose blocks go on across the ends of rows
here, as they need not in a large model; Q4_K_M has Q6_K for V and the FFN's output in about half of the layers. "As
written" is what llama.cpp itself makes of this file.

"""
Float32 = npt.NDArray[np.float32]
Size = tuple[int, int]
"""Bytes and weights."""
K_BLOCK = 256


@dataclass(frozen=True)
class Candidate:
    """`make` gives the decoder, and bytes and weights of its layers' matrices."""

    name: str
    make: Callable[[Floats], tuple[ExactDecoder, Size]]


class Floats:
    """SmolLM2 of floats: its file, and its bundle in float32."""

    def __init__(self) -> None:
        FOLDER.mkdir(parents=True, exist_ok=True)
        self.model = SmolLM(write_floats(gguf_path(), FOLDER / FLOATS))
        self.bundle = self.model.export(FOLDER / "float32", ExportOptions(PRECISIONS["float32"]))

    def with_layers(self, file: Path, left: Callable[[str, Float32], Float32]) -> ExactDecoder:
        """The float model with other matrices in its layers: `left` of those in `file`."""
        source = GgufCheckpoint(file, self.model.file_ids)
        planned = plan(source, source.config(), PRECISIONS["float32"])
        given = {}
        for weight in planned.files["decoder"].weights.values():
            if weight.form == "transposed" and weight.shape[0] != source.config().decoder.vocab_size:
                parts = [left(name, np.concatenate(list(source.rows(name)))) for name in weight.sources]
                given[weight.name] = np.ascontiguousarray(np.concatenate(parts).T)
        return ExactDecoder(self.bundle, given)


def exported(choices: Choices) -> Callable[[Floats], tuple[ExactDecoder, Size]]:
    def make(floats: Floats) -> tuple[ExactDecoder, Size]:
        with tempfile.TemporaryDirectory(dir=FOLDER) as folder:
            bundle = floats.model.export(Path(folder) / "bundle", to_options({**choices, "max_kl": np.inf}))
            return ExactDecoder(bundle), layer_bytes(bundle, len(floats.model.file_ids))

    return make


def stored_as(kind_of: Callable[[str], Type]) -> Callable[[Floats], tuple[ExactDecoder, Size]]:
    """Each matrix in the format of its name."""

    def make(floats: Floats) -> tuple[ExactDecoder, Size]:
        size = weights = 0

        def left(name: str, weight: Float32) -> Float32:
            nonlocal size, weights
            kind = kind_of(name)
            block, block_bytes = GGML_QUANT_SIZES[kind]
            size, weights = size + weight.size // block * block_bytes, weights + weight.size
            return rounded(weight, kind)

        return floats.with_layers(floats.model.path, left), (size, weights)

    return make


def written_by_llama_cpp(kind: str) -> Callable[[Floats], tuple[ExactDecoder, Size]]:
    def make(floats: Floats) -> tuple[ExactDecoder, Size]:
        with tempfile.TemporaryDirectory(dir=FOLDER) as folder:
            path = Path(folder) / "rounded.gguf"
            quantize_by_llama_cpp(floats.model.path, path, kind)
            layers = [t for t in GGUFReader(path).tensors if t.name.startswith("blk.") and len(t.shape) == 2]
            size = sum(int(t.n_bytes) for t in layers), sum(int(t.n_elements) for t in layers)
            return floats.with_layers(path, lambda _name, weight: weight), size

    return make


def rounded(weight: Float32, kind: Type) -> Float32:
    """What is left of a matrix; K formats go on across the ends of rows."""
    if GGML_QUANT_SIZES[kind][0] != K_BLOCK:
        return np.asarray(dequantize(quantize(weight, kind), kind), np.float32)
    import llama_cpp

    library = ctypes.CDLL(str(Path(llama_cpp.__file__).parent / "lib" / "libggml-base.so"))
    chunk: Any = library.ggml_quantize_chunk
    chunk.restype = ctypes.c_size_t
    chunk.argtypes = [ctypes.c_int, *[ctypes.c_void_p] * 2, *[ctypes.c_int64] * 3, ctypes.c_void_p]
    blocks = np.ascontiguousarray(weight.reshape(-1, K_BLOCK))
    packed = np.zeros((len(blocks), GGML_QUANT_SIZES[kind][1]), np.uint8)
    chunk(int(kind), blocks.ctypes.data, packed.ctypes.data, 0, len(blocks), K_BLOCK, None)
    return np.asarray(dequantize(packed, kind), np.float32).reshape(weight.shape)


def q4_k_m(name: str) -> Type:
    """llama.cpp's mixture for 30 layers: more bits for V and the FFN's output in the outer ones and each third."""
    layer, count = int(name.split(".")[2]), 30
    more = layer < count // 8 or layer >= 7 * count // 8 or (layer - count // 8) % 3 == 2
    kind: Type = Type.Q6_K if more and ("v_proj" in name or "down_proj" in name) else Type.Q4_K
    return kind


CANDIDATES = (
    *(Candidate(name, exported(choices)) for name, choices in OWN),
    Candidate("Q4_0", stored_as(lambda _: Type.Q4_0)),
    Candidate("Q4_1", stored_as(lambda _: Type.Q4_1)),
    Candidate("Q4_K", stored_as(lambda _: Type.Q4_K)),
    Candidate("Q4_K_M", stored_as(q4_k_m)),
    Candidate("Q4_K_M, as written", written_by_llama_cpp("LLAMA_FTYPE_MOSTLY_Q4_K_M")),
    Candidate("Q8_0", stored_as(lambda _: Type.Q8_0)),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--into", type=Path, metavar="FILE", help="put the table into its section of this file")
    parser.add_argument("--only", default="", metavar="TEXT", help="those with this in their names")
    options = parser.parse_args()
    text = measure([x for x in CANDIDATES if options.only.lower() in x.name.lower()])
    if options.into:
        replace_section(options.into, text, SECTION)
    sys.stdout.write(text)


def measure(candidates: Sequence[Candidate]) -> str:
    """The section with its table."""
    floats = Floats()
    exact = ExactDecoder(floats.bundle)
    ids_of_text = Tokenizer(floats.bundle / "tekken.json").encode_text(TEXT)
    known = [(ids, exact(ids)) for ids in windows(ids_of_text.tolist(), WINDOWS)]
    lines, perplexity = "", 0.0
    for candidate in candidates:
        decoder, (size, weights) = candidate.make(floats)
        found, itself = divergences(known, [decoder])
        perplexity = itself["perplexity"]
        line = (
            f"| {candidate.name} | {8 * size / weights:.2f} | {size / 1e6:.1f} | {found['kl']:.4f} | "
            f"{found['same_top']:.3f} | {found['perplexity']:.2f} |\n"
        )
        sys.stderr.write(line)
        lines += line
    head = HEAD.format(cpu=processor(), tokens=WINDOWS * WINDOW, perplexity=perplexity)
    columns = "| | bits a weight | MB | KL divergence | same likeliest token | perplexity |\n"
    return head + columns + "|---|---|---|---|---|---|\n" + lines


if __name__ == "__main__":
    main()
